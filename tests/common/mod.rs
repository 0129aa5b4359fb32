//! What tests of several processes share.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// No test takes this long. One that does hangs, and is ended with a word about where.
const PATIENCE: Duration = Duration::from_secs(90);

/// Ends the whole test program if `test` hangs, saying which one and where its threads wait.
pub fn watched(name: &'static str, test: impl FnOnce()) {
    let (done, is_done) = mpsc::channel::<()>();
    let watchdog = thread::spawn(move || {
        if is_done.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
            eprintln!("{name} hangs. Who waits for what:");
            for task in std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
                let read = |file| std::fs::read_to_string(task.path().join(file));
                let name = read("comm").unwrap_or_default();
                let wait = read("wchan").unwrap_or_default();
                let call = read("syscall").unwrap_or_default();
                eprintln!("  {} waits in {wait}: {}", name.trim(), call.trim());
            }
            std::process::abort();
        }
    });
    test();
    drop(done);
    watchdog.join().expect("the watchdog only waits");
}
