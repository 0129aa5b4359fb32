//! The program that listens. Its first argument says what it does, the others where.

mod manage;
#[path = "../../messages.rs"]
mod messages;
mod names;
mod talk;

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["talk", path] => talk::talk(path),
        ["serve", path] => talk::serve(path),
        ["give-dict", path] => manage::give_dict(path),
        ["manage", path] => manage::manage(path),
        ["use-manager", path] => manage::use_it(path),
        ["leave", name] => names::leave(name),
        ["storm", name] => names::storm(name),
        _ => Err(format!("no such command: {arguments:?}").into()),
    }
}

/// Says a line to whoever started this program.
fn say(line: impl std::fmt::Display) {
    use std::io::Write;
    println!("{line}");
    let _ = std::io::stdout().flush();
}
