//! The program that connects. Its first argument says what it does, the others where.

mod manage;
mod names;
mod talk;
mod wire;

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["talk", path] => talk::talk(path),
        ["die-with-lock", path] => talk::die_with_lock(path),
        ["disagree", path] => talk::disagree(path),
        ["greet", path, name] => talk::greet(path, name),
        ["take-dict", path] => manage::take_dict(path),
        ["use-manager", path] => manage::use_it(path),
        ["take", name] => names::take(name),
        ["mistake", name] => names::mistake(name),
        _ => Err(format!("no such command: {arguments:?}").into()),
    }
}

/// Says a line to whoever started this program.
fn say(line: impl std::fmt::Display) {
    use std::io::Write;
    println!("{line}");
    let _ = std::io::stdout().flush();
}
