//! The process on the other side, and what ties the two processes to CPUs and to one another.
#![allow(unsafe_code, reason = "processes are bound to CPUs and to their parent")]

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::parent_id;
use std::process::{ChildStdin, ChildStdout, Command, Stdio, exit};
use std::thread::{self, JoinHandle};

use crate::{Outcome, PEER_OF};

/// This program once more, which does the other half of what this process does.
pub(crate) struct Peer {
    orders: ChildStdin,
    ready: BufReader<ChildStdout>,
    watch: JoinHandle<()>,
}

impl Peer {
    /// Starts it, with the arguments of this process.
    pub(crate) fn start(arguments: &[String]) -> Outcome<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args([PEER_OF, &std::process::id().to_string()])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let orders = child.stdin.take().ok_or("no input of the peer")?;
        let ready = child.stdout.take().ok_or("no output of the peer")?;
        // A peer that fails would leave this process polling for ever. The thread only sleeps.
        let watch = thread::spawn(move || {
            let end = child.wait();
            if !end.as_ref().is_ok_and(|status| status.success()) {
                eprintln!("the peer has failed: {end:?}");
                exit(1);
            }
        });
        Ok(Self { orders, ready: BufReader::new(ready), watch })
    }

    /// Has it do so many iterations, and returns when it begins.
    pub(crate) fn order(&mut self, iterations: u64) -> Outcome<()> {
        writeln!(self.orders, "{iterations}")?;
        match self.ready.read_line(&mut String::new())? {
            0 => Err("the peer is gone".into()),
            _ => Ok(()),
        }
    }

    /// Ends it, and returns when it has cleaned up and is gone.
    pub(crate) fn end(self) -> Outcome<()> {
        drop(self.orders);
        self.watch.join().map_err(|_| "the thread that waits for the peer has panicked".into())
    }
}

/// Has the kernel kill this process when `parent` is gone, however it went.
pub(crate) fn die_with(parent: u32) -> Outcome<()> {
    // SAFETY: this option takes one number, and touches no memory of the process.
    let result = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    if result != 0 {
        return Err(io::Error::last_os_error().into());
    }
    // It may have gone before that.
    if parent_id() != parent {
        return Err("the parent is gone".into());
    }
    Ok(())
}

/// Keeps the calling thread, and the threads that it starts, on one CPU.
pub(crate) fn pin(cpu: usize) -> Outcome<()> {
    if cpu >= libc::CPU_SETSIZE as usize {
        return Err(format!("no CPU {cpu}").into());
    }
    // SAFETY: a zeroed set is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: `cpu` is below the size of the set.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: the kernel only reads the set, which is as large as it is told.
    let result = unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) };
    if result != 0 {
        return Err(format!("no CPU {cpu}: {}", io::Error::last_os_error()).into());
    }
    Ok(())
}
