//! The parent's side of a birth: the fork server's client, and the exec of a child of its own.

use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::sync::Arc;
use std::time::Duration;

use super::family::{Child, Family};
use super::hook;
use super::job::{self, Birth, Hello, MAGIC, MAKE_CHILD, Made, Role};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::shim::lock;
use crate::sys::clock::Deadline;
use crate::sys::clone::Record;
use crate::sys::spawn::{self, Born, Failure, Step, Surroundings};
use crate::sys::{child, image, letter, socket, task};
use crate::trace;

/// How long a process that was started may take to say so: it need only load its libraries.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// What the children of one birthplace start with, before they are told otherwise.
#[derive(Debug, Default)]
pub(crate) struct Baseline {
    pub(crate) environment: Vec<(OsString, OsString)>,
    pub(crate) affinity: Vec<u64>,
}

/// The fork server of this process.
#[derive(Debug)]
pub(crate) struct Server {
    socket: OwnedFd,
    process: Arc<Child>,
    record: Record,
    credentials: [u32; 6],
    baseline: Baseline,
}

/// A child that waits for its job, the socket to send it on, and what was prepared meanwhile.
pub(crate) struct Newborn<T> {
    pub(crate) born: Born,
    pub(crate) socket: OwnedFd,
    pub(crate) prepared: T,
}

/// Why the server made no child.
enum Refusal {
    /// It is gone, and no child was made.
    Gone,
    Error(Error),
}

/// Has the fork server make a child; starts the server if there is none, or it is gone.
///
/// `prepare` is called while the server works.
pub(crate) fn from_server<T>(
    family: &'static Family,
    mut prepare: impl FnMut(&Baseline) -> T,
) -> Result<Newborn<T>> {
    let mut place = lock(&family.server);
    let mut is_new = false;
    loop {
        let server = match place.take() {
            Some(server) if server.credentials == task::credentials() => server,
            // There is none, or its children would have rights that this process has given up.
            _ => {
                is_new = true;
                Server::launch(family)?
            }
        };
        match server.make_child(&mut prepare) {
            Ok(newborn) => {
                *place = Some(server);
                return Ok(newborn);
            }
            Err(Refusal::Error(error)) => {
                *place = Some(server);
                return Err(error);
            }
            Err(Refusal::Gone) => {
                trace::note!(DEBUG, ServerGone { pid: server.process.pid });
                if !is_new {
                    continue;
                }
                return Err(Error::new(ErrorKind::Spawn, "start a process: the fork server died"));
            }
        }
    }
}

/// Makes a child by exec of this program.
pub(crate) fn from_exec<T>(
    family: &'static Family,
    mut prepare: impl FnMut(&Baseline) -> T,
) -> Result<Newborn<T>> {
    let (socket, born, baseline) = exec(family, Role::Child, None)?;
    Ok(Newborn { born, socket, prepared: prepare(&baseline) })
}

impl Server {
    #[cold]
    fn launch(family: &'static Family) -> Result<Self> {
        trace::begin!(start);
        let credentials = task::credentials();
        let (record, memory) =
            Record::create().context(|| "make the record of the fork server".to_owned())?;
        let (socket, born, baseline) = exec(family, Role::Server, Some(memory.as_fd()))?;
        let process = family.adopt(born, "fork server".to_owned(), true)?;
        let server = Self { socket, process, record, credentials, baseline };
        match server.shake_hands() {
            Ok(()) => {
                trace::note!(
                    DEBUG,
                    ServerStarted { pid: server.process.pid, took: start.elapsed() }
                );
                Ok(server)
            }
            Err(error) => {
                let _ = server.process.signal(libc::SIGKILL);
                Err(error)
            }
        }
    }

    fn shake_hands(&self) -> Result<()> {
        let trouble = |what: &str| Error::new(ErrorKind::Spawn, format!("fork server: {what}"));
        let socket = self.socket.as_fd();
        let deadline = Deadline::after(HANDSHAKE);
        let both = [
            (socket, socket::PollFlags::POLLIN),
            (self.process.pidfd.as_fd(), socket::PollFlags::POLLIN),
        ];
        let ready = socket::ready(&both, deadline).context(|| "wait for the server".to_owned())?;
        if ready.is_none() {
            return Err(trouble(
                "no answer in 10 s; if the program calls multiproc::init(), it must be the first \
                 thing in main; and a library in a program of another language has no children",
            ));
        }
        let letter = letter::receive(socket, deadline)
            .context(|| "hear from the fork server".to_owned())?
            .ok_or_else(|| {
                // A process closes its files a moment before it has ended.
                let _ = socket::ready(&both[1..], deadline);
                match self.process.try_reap() {
                    Some(status) => trouble(&format!("ended before it answered: {status}")),
                    None => trouble("closed its socket before it answered"),
                }
            })?;
        let (hello, _) =
            job::decode::<Hello>(&letter.bytes).map_err(|cause| trouble("hello").because(cause))?;
        if hello.magic != MAGIC || hello.pid != self.process.pid {
            return Err(trouble("somebody else answered"));
        }
        if !hello.is_alone {
            return Err(trouble(
                "the program starts threads before multiproc could make copies of it; use \
                 StartMethod::Spawn, or call multiproc::init() before they start",
            ));
        }
        Ok(())
    }

    fn make_child<T>(
        &self,
        prepare: &mut impl FnMut(&Baseline) -> T,
    ) -> Result<Newborn<T>, Refusal> {
        let pair = socket::pair().context(|| "make a socket for a new process".to_owned());
        let (mine, theirs) = pair.map_err(Refusal::Error)?;
        let server = self.socket.as_fd();
        // A server that shook hands answers, or its socket ends. A stopped one is waited for.
        let deadline = Deadline::NEVER;
        self.record.clear();
        if let Err(cause) = socket::send(server, &[&MAKE_CHILD], &[theirs.as_fd()], deadline) {
            return Err(if socket::is_gone(&cause) { Refusal::Gone } else { refusal(cause) });
        }
        // With our copy closed, the socket ends when the child does, or the request is lost; and
        // there is room for the pidfd if this process is at its limit.
        drop(theirs);
        let prepared = prepare(&self.baseline);
        match read_answer(server, deadline)
            .map_err(refusal)?
            .map_or_else(|| recorded(&self.record), |born| Ok(Some(born)))
        {
            Ok(Some(born)) => Ok(Newborn { born, socket: mine, prepared }),
            Ok(None) => Err(Refusal::Gone),
            Err((cause, pid)) => {
                // The child ends when its socket does.
                drop(mine);
                let _ = child::wait_pid(pid);
                Err(refusal(cause))
            }
        }
    }
}

/// Waits for the server's answer, which may be an error; `None` if it was lost.
pub(super) fn read_answer(server: BorrowedFd<'_>, deadline: Deadline) -> io::Result<Option<Born>> {
    let mut reply = [0; Made::SIZE];
    match socket::receive(server, &mut reply, deadline) {
        Ok(packet) if packet.length == Made::SIZE => {
            let made = Made::from_bytes(reply);
            if made.errno != 0 {
                return Err(io::Error::from_raw_os_error(made.errno));
            }
            let pidfd = packet.fds.into_iter().next();
            Ok(pidfd.map(|pidfd| Born { pid: made.pid, pidfd }))
        }
        // The answer came, and its pidfd found no room.
        Err(cause) if cause.raw_os_error() == Some(libc::EMFILE) => Ok(None),
        _ => {
            // It is gone; or else whatever it still says must not pass for a later answer.
            socket::shut_down(server);
            Ok(None)
        }
    }
}

/// The server's answer was lost. If it had made a child, the kernel has recorded it.
#[cold]
fn recorded(record: &Record) -> Result<Option<Born>, (io::Error, u32)> {
    let Some(pid) = record.pid() else { return Ok(None) };
    let pidfd = child::open(pid).map_err(|cause| (cause, pid))?;
    // Nobody else knows of it, so it is there to be waited for, unless the record was damaged.
    let is_ours = child::is_child(pidfd.as_fd());
    Ok(is_ours.then_some(Born { pid, pidfd }))
}

/// Executes this program in `role` from the monitor's thread, with its first letter in the socket.
fn exec(
    family: &'static Family,
    role: Role,
    record: Option<BorrowedFd<'_>>,
) -> Result<(OwnedFd, Born, Baseline)> {
    let what = || "make a socket for a new process".to_owned();
    if task::is_privileged() {
        // Such a process believes nothing that it inherits, see `hook`.
        let what = "start a process: a program with set-user-id or file capabilities has none";
        return Err(Error::new(ErrorKind::Spawn, what));
    }
    if hook::is_ahead() {
        let what = "start a process before `main`, in a process that is itself being started: \
                    an initialiser of the program does so, and would in each; do it in `main`";
        return Err(Error::new(ErrorKind::Misuse, what));
    }
    let monitor = family.monitor()?;
    let (mine, theirs) = socket::pair().context(what)?;
    let birth = Birth {
        magic: MAGIC,
        fingerprint: image::main().fingerprint(),
        parent: std::process::id(),
        role,
    };
    let birth = job::encode(&birth).context(what)?;
    letter::send(mine.as_fd(), &birth, record.as_slice(), Deadline::after(HANDSHAKE))
        .context(what)?;
    let surroundings = match role {
        Role::Server => Surroundings::Shared,
        Role::Child => Surroundings::Copied,
    };
    let arguments: Vec<CString> = std::env::args_os().filter_map(c_string).collect();
    let environment: Vec<_> = std::env::vars_os().collect();
    let block = block(&environment);
    let exec = move || {
        // The new process has the CPUs of the thread that makes it, which is the monitor's.
        let affinity = task::affinity().map_err(Step::Affinity.failed())?;
        let born = spawn::exec(&arguments, &block, theirs.as_fd(), surroundings)?;
        Ok((born, affinity))
    };
    let failed = |failure: Failure| start_error(failure.step.name(), failure.cause);
    let (born, affinity) = monitor.run_there(exec)?.map_err(failed)?;
    Ok((mine, born, Baseline { environment, affinity }))
}

/// The environment of a new process: ours, and the word that it is one.
fn block(environment: &[(OsString, OsString)]) -> Vec<CString> {
    let suffix = if hook::is_in_main() { format!(":{}", job::IN_MAIN) } else { String::new() };
    let word = OsString::from(format!("{}={}{suffix}", job::VARIABLE, spawn::CONTROL));
    // A word that somebody else left there would be found first.
    let others = environment.iter().filter(|(key, _)| key != job::VARIABLE);
    let pairs = others.map(|(key, value)| {
        let mut pair = key.clone();
        pair.push("=");
        pair.push(value);
        pair
    });
    pairs.chain([word]).filter_map(c_string).collect()
}

fn c_string(text: OsString) -> Option<CString> {
    // What came from the kernel as a C string has no zero byte in it.
    CString::new(text.into_vec()).ok()
}

fn refusal(cause: io::Error) -> Refusal {
    Refusal::Error(start_error("start a process", cause))
}

/// A limit keeps its kind; everything else is a start that failed.
pub(crate) fn start_error(what: &str, cause: io::Error) -> Error {
    let errno = cause.raw_os_error();
    let error = Err::<(), _>(cause).context(|| what.to_owned()).unwrap_err();
    if error.kind() != ErrorKind::Os {
        return error;
    }
    let cause =
        errno.map_or_else(|| io::Error::other(error.to_string()), io::Error::from_raw_os_error);
    Error::new(ErrorKind::Spawn, what).because(cause)
}
