//! The rival that is too large for a dependency: a package of its own, which is built when needed.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use crate::support::peer::cpus;
use crate::support::{is_quick, root};

const MANIFEST: &str = "benches/rivals/iceoryx2/Cargo.toml";

/// Its program with these arguments, if it is there.
pub(crate) fn command(arguments: &[&str]) -> Option<Command> {
    let mut command = Command::new(program().as_ref()?);
    let (here, there) = cpus()?;
    command.args(arguments).args([here, there].map(|cpu| cpu.to_string()));
    Some(command)
}

/// The program. `None`, with a remark, where it is not there. Looked for once: as long as this
/// process may use all CPUs, if that is to be fast.
pub(crate) fn program() -> &'static Option<PathBuf> {
    static PROGRAM: OnceLock<Option<PathBuf>> = OnceLock::new();
    PROGRAM.get_or_init(built)
}

/// Builds it, which takes a minute the first time: too long for a quick run.
fn built() -> Option<PathBuf> {
    let target = root().join("target/rivals");
    let program = target.join("release/iceoryx2-rival");
    if is_quick() {
        if program.exists() {
            return Some(program);
        }
        println!("\niceoryx2 is left out: a run without --quick builds what measures it.");
        return None;
    }
    let status = Command::new("cargo")
        .args(["build", "--release", "--quiet", "--locked", "--manifest-path"])
        .arg(root().join(MANIFEST))
        .arg("--target-dir")
        .arg(target)
        .status();
    if !status.is_ok_and(|status| status.success()) {
        println!("\niceoryx2 is left out: {MANIFEST} could not be built.");
        return None;
    }
    Some(program)
}
