//! Two programs that are built apart from this one, and from one another: `tests/strangers`.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses some of it")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::OnceLock;

/// Where they are.
#[derive(Debug)]
pub struct Programs {
    pub first: PathBuf,
    pub second: PathBuf,
}

/// Builds both, in the profile of this test, if that was not done before; `None`, with a word about
/// it, where their sources were left out.
///
/// They have the versions that this crate is locked to, so nothing is fetched.
pub fn build() -> Option<&'static Programs> {
    static BUILT: OnceLock<Option<Programs>> = OnceLock::new();
    BUILT
        .get_or_init(|| {
            let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/strangers");
            if !sources.exists() {
                eprintln!("skipped: the programs of {} are not there", sources.display());
                return None;
            }
            let test = std::env::current_exe().unwrap();
            let profile = test.parent().and_then(Path::parent).expect("the folder of a profile");
            let target = profile.parent().expect("the target folder").join("strangers");
            let [first, second] =
                ["first", "second"].map(|name| build_one(&sources.join(name), &target, profile));
            Some(Programs { first, second })
        })
        .as_ref()
}

fn build_one(source: &Path, target: &Path, profile: &Path) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let lock = source.join("Cargo.lock");
    // As others may be building: never half a file.
    let new = source.join(format!("Cargo.lock.{}", std::process::id()));
    std::fs::copy(root.join("Cargo.lock"), &new).unwrap();
    std::fs::rename(&new, &lock).unwrap();
    let name = profile.file_name().expect("the name of a profile");
    let profile = if name == "debug" { "dev".as_ref() } else { name };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--quiet", "--offline", "--profile"])
        .arg(profile)
        .arg("--manifest-path")
        .arg(source.join("Cargo.toml"))
        .arg("--target-dir")
        .arg(target)
        .output()
        .expect("cargo");
    let said = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "building {}:\n{said}", source.display());
    target.join(name).join(source.file_name().expect("the name of a program"))
}

/// A program that runs, is listened to, and is killed if nobody waits for its end.
#[derive(Debug)]
pub struct Running {
    child: Child,
    said: BufReader<ChildStdout>,
}

/// Starts a program with these arguments.
pub fn start(program: &Path, arguments: &[&str]) -> Running {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let said = BufReader::new(child.stdout.take().expect("a pipe"));
    Running { child, said }
}

impl Running {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line that it says; empty at its end.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Ends its standard input, which some wait for.
    pub fn close_input(&mut self) {
        drop(self.child.stdin.take());
    }

    pub fn kill(&mut self) {
        self.child.kill().unwrap();
    }

    /// Waits for its end.
    pub fn wait(mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// Waits for its end, which is to be a good one.
    pub fn finish(self) {
        let status = self.wait();
        assert!(status.success(), "{status}");
    }

    /// How many files it has open.
    pub fn open_fds(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).unwrap().count()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
