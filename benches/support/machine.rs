//! What a bench has run on.

use std::fmt;
use std::fs;
use std::process::Command;

use serde::Serialize;

#[derive(Serialize)]
pub(crate) struct Machine {
    cpu: String,
    cpus: usize,
    kernel: String,
    rust: String,
    date: String,
}

impl Machine {
    pub(crate) fn this() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let info = read("/proc/cpuinfo");
        let name = info.lines().find_map(|line| line.strip_prefix("model name"));
        let cpu = name.unwrap_or("unknown CPU").trim_start_matches([' ', '\t', ':']).to_owned();
        let kernel = read("/proc/sys/kernel/osrelease");
        Self {
            cpu,
            cpus: super::peer::all_cpus().len(),
            kernel: kernel.split('-').next().unwrap_or_default().trim().to_owned(),
            rust: said(Command::new("rustc").arg("--version"), 1),
            date: said(Command::new("date").arg("+%F"), 0),
        }
    }
}

/// One word of what a program says.
fn said(command: &mut Command, word: usize) -> String {
    let output = command.output().map(|output| output.stdout).unwrap_or_default();
    let text = String::from_utf8_lossy(&output);
    text.split_whitespace().nth(word).unwrap_or("unknown").to_owned()
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cpu, cpus, kernel, rust, date } = self;
        write!(f, "{cpu}, {cpus} CPUs, Linux {kernel}, Rust {rust}, {date}")
    }
}
