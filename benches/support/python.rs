//! An interpreter of Python that times itself.

use std::process::Command;

use super::Contender;
use super::program::Program;

/// Row: a script that speaks as [`Program`]s do. `None`, with a remark, where there is no Python.
pub(crate) fn python(name: &str, script: &str, arguments: &[String]) -> Option<Contender> {
    interpreter(name, script, arguments).map(|python| row(name, python))
}

/// Row: the same of a file, which children that are no copies import once more.
pub(crate) fn python_file(name: &str, path: &str, arguments: &[String]) -> Option<Contender> {
    started(name, Command::new("python3").arg(path).args(arguments)).map(|python| row(name, python))
}

/// The script as a program. `None`, with a remark, where there is no Python.
pub(crate) fn interpreter(name: &str, script: &str, arguments: &[String]) -> Option<Program> {
    started(name, Command::new("python3").args(["-c", script]).args(arguments))
}

fn started(name: &str, command: &mut Command) -> Option<Program> {
    let python = Program::start(command);
    if python.is_none() {
        println!("\nThere is no python3 that could run {name}: left out.");
    }
    python
}

fn row(name: &str, mut python: Program) -> Contender {
    Contender::new(name, move |iterations| python.run(iterations)).long()
}
