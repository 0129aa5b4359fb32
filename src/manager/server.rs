//! The server: a process with objects, a thread that opens the door, and a thread for each pipe.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::channel::Connection;
use crate::error::{Cause, Context, Error, ErrorKind, Result};
use crate::process::remote::{Outcome, caught, contained};
use crate::process::seal::{Role, Sealed};
use crate::raw::kind::Kind;
use crate::segment::{self, Spec};
use crate::shim::lock;
use crate::sys::clock::Deadline;
use crate::sys::{fork, interrupt, letter, socket};
use crate::transfer;
use crate::transfer::codec::{CodecError, Serde};

use super::address::Found;
use super::entry::{self, Prepared};
use super::hosted::Hosted;
use super::info::ObjectInfo;
use super::link::{Knock, Link, NOTE_MAX, Reply, Request, Socket, gone, panicked};
use super::namespace::Fields;
use super::reference::Reference;

/// A parcel with a handle in it that was lost on its way tells nobody; so often it is looked for.
const ROUND: Duration = Duration::from_secs(5);

/// So many objects are looked at while calls that look for theirs have to wait.
const AT_A_TIME: usize = 32;

/// So many times as long as looking for litter takes nobody looks: it takes the longer the more
/// objects there are, and every one that is made or sent drops a handle.
const REST: u32 = 9;

/// What a server needs to begin.
#[derive(Serialize, Deserialize)]
pub(super) struct Start {
    pub(super) door: Socket,
    pub(super) link: Found,
    /// How many pipes it may have.
    pub(super) connections: usize,
}

/// What a server has.
pub(super) struct Server {
    link: Arc<Link>,
    door: OwnedFd,
    connections: usize,
    objects: Mutex<Objects>,
    /// The server's own handle of it.
    root: Mutex<Option<Reference>>,
    /// The processes at the other ends of the pipes.
    clients: Mutex<Vec<u32>>,
    generation: u32,
}

#[derive(Default)]
struct Objects {
    last: u64,
    all: HashMap<u64, Arc<Hosted>>,
    /// Set when all of them are to go.
    is_over: bool,
}

impl Objects {
    /// Takes an object out that nobody has a handle of. Whoever calls it has another `Arc`.
    fn take_unheld(&mut self, key: u64) -> Option<Arc<Hosted>> {
        let hosted = self.all.get(&key)?;
        let is_unheld = Arc::strong_count(hosted) == 1 && hosted.life.is_alone();
        if is_unheld { self.all.remove(&key) } else { None }
    }
}

/// The server that this process is.
static SERVER: OnceLock<Server> = OnceLock::new();

/// The server of this process, if it is one.
pub(super) fn here() -> Option<&'static Server> {
    SERVER.get().filter(|server| server.generation == fork::generation())
}

/// The server of this process, if it is the one that this way leads to.
pub(super) fn behind(link: &Arc<Link>) -> Option<&'static Server> {
    here().filter(|server| Arc::ptr_eq(&server.link, link))
}

/// The whole life of a server's process.
pub(super) fn main(start: Start) {
    // What the terminal says it says to the manager's owner, who decides.
    interrupt::pass_over();
    let server = SERVER.get_or_init(|| Server::new(start));
    let sweeping = thread::Builder::new().name("manager-litter".to_owned());
    if sweeping.spawn(|| server.sweep()).is_err() {
        return;
    }
    while let Some(knock) = server.next_knock() {
        server.let_in(knock);
    }
    server.clear();
}

impl Server {
    pub(super) fn new(start: Start) -> Self {
        Self {
            link: start.link.0,
            door: start.door.0,
            connections: start.connections,
            objects: Mutex::default(),
            root: Mutex::default(),
            clients: Mutex::default(),
            generation: fork::generation(),
        }
    }

    /// Waits for a client. `None` when the door is shut: the server is to end.
    fn next_knock(&self) -> Option<Knock> {
        loop {
            let knock = match letter::receive(self.door.as_fd(), Deadline::NEVER) {
                Ok(Some(letter)) => transfer::unpack(&letter.bytes, letter.fds),
                Err(cause) if can_be_passed_over(&cause) => {
                    Err(cause).context(|| "receive the pipe of a client".to_owned())
                }
                Ok(None) | Err(_) => return None,
            };
            match knock {
                Ok(knock) => return Some(knock),
                Err(why) => self.turn_away(&why),
            }
        }
    }

    /// Says through the door why a knock was lost. Whoever hears that its pipe is closed asks
    /// there, and takes one such note, so it does not matter whose it is.
    fn turn_away(&self, why: &Error) {
        let what = "connect to a manager: its server could not take the pipe";
        let mut note = Error::new(why.kind(), what);
        note = match why.raw_os_error() {
            Some(errno) => note.because(io::Error::from_raw_os_error(errno)),
            None => note.because(why.to_string()),
        };
        let mut bytes = Vec::new();
        if Serde::serialize(&note, &mut bytes).is_ok() && bytes.len() <= NOTE_MAX {
            // Full of notes that nobody took: then nobody waits for this one either.
            let now = Deadline::after(Duration::ZERO);
            let _ = socket::send(self.door.as_fd(), &[&bytes], &[], now);
        }
    }

    /// Gives a client a thread of its own.
    fn let_in(&'static self, Knock { pid, line }: Knock) {
        let mut clients = lock(&self.clients);
        if clients.len() >= self.connections {
            drop(clients);
            let what = format!("more than {} calls of a manager at once", self.connections);
            return refuse(line, &Error::new(ErrorKind::Limit, what));
        }
        clients.push(pid);
        drop(clients);
        let line = Arc::new(Mutex::new(Some(line)));
        let theirs = Arc::clone(&line);
        let life = thread::Builder::new().name(format!("manager-{pid}")).spawn(move || {
            let line = lock(&theirs).take();
            line.into_iter().for_each(|line| serve(self, line));
            self.say_farewell(pid);
        });
        if let Err(cause) = life {
            self.say_farewell(pid);
            let what = "start a thread for a client of a manager";
            let error = Error::new(ErrorKind::Limit, what).because(cause);
            lock(&line).take().into_iter().for_each(|line| refuse(line, &error));
        }
    }

    fn say_farewell(&self, pid: u32) {
        let mut clients = lock(&self.clients);
        if let Some(at) = clients.iter().position(|client| *client == pid) {
            clients.swap_remove(at);
        }
        drop(clients);
        self.link.tell_of_litter();
    }

    /// Hosts a value, and makes the first handle of it.
    pub(super) fn host<T: Send + Sync + 'static>(&self, value: T) -> Result<Reference> {
        let life = segment::allocate(&Spec {
            kind: Kind::Inert,
            bytes: 1,
            furnished: 1,
            init: &|_, _| {},
        })?;
        let mut objects = lock(&self.objects);
        if objects.is_over {
            return Err(gone());
        }
        objects.last += 1;
        let hosted = Hosted::new(objects.last, value, life);
        let first = Reference::first(&self.link, &hosted);
        objects.all.insert(hosted.key(), hosted);
        Ok(first)
    }

    /// A handle of the namespace that all clients know, which is made for the first who asks.
    pub(super) fn root(&self) -> Result<Reference> {
        let mut root = lock(&self.root);
        if let Some(root) = &*root {
            return Ok(root.clone());
        }
        Ok(root.insert(self.host(Fields::default())?).clone())
    }

    /// The object of this number.
    pub(super) fn object(&self, key: u64) -> Result<Arc<Hosted>> {
        let objects = lock(&self.objects);
        objects.all.get(&key).cloned().ok_or_else(|| {
            if objects.is_over {
                return gone();
            }
            let what = format!("call object {key} of a manager: there is none");
            Error::new(ErrorKind::Corrupt, what)
        })
    }

    /// What there is to know of all objects, in the order in which they were made.
    pub(super) fn describe(&self) -> Vec<ObjectInfo> {
        let objects = lock(&self.objects);
        let mut all: Vec<_> = objects.all.values().map(|hosted| ObjectInfo::of(hosted)).collect();
        all.sort_by_key(|info| info.id);
        all
    }

    /// The processes that are connected, once for each pipe.
    pub(super) fn clients(&self) -> Vec<u32> {
        lock(&self.clients).clone()
    }

    /// Drops what nobody has a handle of any more, whenever there is reason to look.
    fn sweep(&self) {
        let litter = &self.link.address().litter;
        loop {
            if litter.wait_timeout(ROUND).and_then(|_| litter.clear()).is_err() {
                thread::sleep(ROUND);
            }
            let began = Instant::now();
            segment::recover_all();
            // An object that goes may have had handles of others.
            while self.drop_unheld() {}
            thread::sleep((began.elapsed() * REST).min(ROUND));
        }
    }

    /// Looks at all objects, but at few at a time, as calls look for theirs meanwhile.
    fn drop_unheld(&self) -> bool {
        let keys: Vec<u64> = lock(&self.objects).all.keys().copied().collect();
        let mut is_any = false;
        for some in keys.chunks(AT_A_TIME) {
            let mut objects = lock(&self.objects);
            let unheld: Vec<_> = some.iter().filter_map(|key| objects.take_unheld(*key)).collect();
            drop(objects);
            for hosted in unheld {
                is_any = true;
                // What it is the user said: its destructor may panic.
                let _ = caught(move || drop(hosted));
            }
        }
        is_any
    }

    /// Drops everything, in the order in which it was made.
    fn clear(&self) {
        let mut objects = lock(&self.objects);
        objects.is_over = true;
        let mut all: Vec<_> = std::mem::take(&mut objects.all).into_values().collect();
        drop(objects);
        all.sort_by_key(|hosted| hosted.key());
        for hosted in all {
            let _ = caught(move || drop(hosted));
        }
    }
}

/// Whether the next letter may be well, after this one was not.
fn can_be_passed_over(cause: &io::Error) -> bool {
    cause.kind() == io::ErrorKind::InvalidData
        || matches!(cause.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM))
}

/// What a client asks for.
pub(super) struct Asked {
    key: u64,
    call: Result<Prepared, String>,
}

/// Does what one client asks for, one call after the other, until it is gone.
pub(super) fn serve(server: &Server, mut line: Connection<Reply, Request>) {
    while let Some(asked) = next_call(&mut line) {
        if !reply(&mut line, &asked.obey(server)) {
            return;
        }
    }
}

fn next_call(line: &mut Connection<Reply, Request>) -> Option<Asked> {
    match line.recv_as(Deadline::NEVER, Asked::read) {
        Ok(asked) => Some(asked),
        // Handles that did not arrive, say. The client waits.
        Err(Cause::Failed(error)) if error.kind() != ErrorKind::Corrupt => {
            Some(Asked { key: 0, call: Err(error.to_string()) })
        }
        Err(_) => None,
    }
}

impl Asked {
    /// Takes a request out of its bytes.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, CodecError> {
        let ((key, name), arguments) = postcard::take_from_bytes::<(u64, Sealed)>(bytes)?;
        let call = contained(|| entry::prepare(name.open(Role::Call)?, arguments));
        Ok(Self { key, call: call.map_err(|cause| cause.to_string()) })
    }

    /// Whether there is anything to be called.
    #[cfg(any(test, fuzzing))]
    pub(super) fn is_call(&self) -> bool {
        self.call.is_ok()
    }

    /// Calls what was asked for.
    pub(super) fn obey(self, server: &Server) -> Outcome {
        let answer = match self.call {
            // Arguments that no function took are dropped in it.
            Ok(call) => caught(|| call(server.object(self.key)))
                .unwrap_or_else(|panic| Err(panicked(panic))),
            Err(cause) => Err(Error::new(ErrorKind::Codec, cause)),
        };
        answer.map_or_else(Outcome::Failed, Outcome::Returned)
    }
}

/// Sends what came of a call. Whether the client is still there.
fn reply(line: &mut Connection<Reply, Request>, outcome: &Outcome) -> bool {
    let mut send =
        |outcome: &Outcome| line.send_as::<Reply>(Deadline::NEVER, |bytes| outcome.encode(bytes));
    match send(outcome) {
        Ok(()) => true,
        Err(Cause::Failed(error)) => send(&Outcome::Failed(error)).is_ok(),
        Err(_) => false,
    }
}

/// Says to a client, as the answer to its first call, why it has no thread.
pub(super) fn refuse(mut line: Connection<Reply, Request>, error: &Error) {
    let now = Deadline::after(Duration::ZERO);
    let outcome = Outcome::Failed(Error::new(error.kind(), error.to_string()));
    let _ = line.send_as::<Reply>(now, |bytes| outcome.encode(bytes));
}
