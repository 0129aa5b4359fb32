//! What the crate tells by `tracing`, heard by a subscriber that does all that it should not.
#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{LazyLock, Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

use multiproc::trace::{flush_events, wait_counts};
use multiproc::{Event, Lock, Manager, Pool, Process, Queue, StartMethod};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Level, Metadata, Subscriber, subscriber};

/// Long enough for anything that comes at all.
const LONG: Duration = Duration::from_secs(60);

/// What one event said.
#[derive(Clone, Debug)]
struct Told {
    target: &'static str,
    level: Level,
    fields: BTreeMap<&'static str, String>,
}

impl Told {
    fn of(&self, field: &str) -> &str {
        self.fields.get(field).map_or("", String::as_str)
    }

    fn is(&self, message: &str, field: &str, value: impl fmt::Display) -> bool {
        self.of("message") == message && self.of(field) == value.to_string()
    }
}

impl Visit for Told {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.fields.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.insert(field.name(), value.to_owned());
    }
}

static HEARD: Mutex<Vec<Told>> = Mutex::new(Vec::new());

/// Names of processes, which the subscriber sends into a queue.
static ENDED: LazyLock<Queue<String>> = LazyLock::new(|| Queue::unbounded().unwrap());

/// Keeps everything that it hears.
struct Ear;

impl Subscriber for Ear {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("multiproc::")
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let (target, level) = (event.metadata().target(), *event.metadata().level());
        let mut told = Told { target, level, fields: BTreeMap::new() };
        event.record(&mut told);
        let is_end_of = |name: &str| told.is("process ended", "name", name);
        if is_end_of("user") {
            let child = Process::spawn(u32::count_ones, 7).unwrap();
            let ones = child.join().unwrap();
            ENDED.try_clone().unwrap().send(format!("user {ones}")).unwrap();
        }
        let is_trouble = is_end_of("trouble");
        heard().push(told);
        assert!(!is_trouble, "a subscriber that panics, on purpose");
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

fn heard() -> MutexGuard<'static, Vec<Told>> {
    HEARD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The tests share one subscriber and one count of sleeps, so they take turns.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    static LISTEN: Once = Once::new();
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    LISTEN.call_once(|| subscriber::set_global_default(Ear).unwrap());
    assert!(flush_events(LONG));
    heard().clear();
    turn
}

/// All that was told so far.
fn told() -> Vec<Told> {
    assert!(flush_events(LONG));
    heard().clone()
}

fn one(message: &str, field: &str, value: impl fmt::Display) -> Told {
    let all = told();
    let found: Vec<_> = all.iter().filter(|event| event.is(message, field, &value)).collect();
    let [event] = found[..] else { panic!("{message}, {field} {value}: {found:?} of {all:?}") };
    event.clone()
}

#[test]
fn a_start_and_an_end_are_told() {
    let _turn = turn();
    for (method, name) in [(StartMethod::ForkServer, "fork server"), (StartMethod::Spawn, "exec")] {
        let builder = Process::builder().name("Ann").start_method(method);
        let child = builder.spawn(u32::count_ones, 7).unwrap();
        let pid = child.pid();
        child.join().unwrap();
        let started = one("process started", "pid", pid);
        assert_eq!((started.target, started.level), ("multiproc::process", Level::DEBUG));
        assert_eq!((started.of("name"), started.of("method")), ("Ann", name));
        assert!(started.of("took_us").parse::<u64>().is_ok());
        let ended = one("process ended", "pid", pid);
        assert_eq!((ended.of("name"), ended.of("status")), ("Ann", "exit code 0"));
        assert!(ended.of("lived_ms").parse::<u64>().is_ok());
    }
}

/// Has the lock until it is killed.
fn hold((lock, held): (Lock, Event)) {
    let _guard = lock.lock().unwrap();
    held.set().unwrap();
    loop {
        std::thread::park();
    }
}

#[test]
fn who_is_buried_is_told_with_what_it_left() {
    let _turn = turn();
    let (lock, held) = (Lock::new().unwrap(), Event::new().unwrap());
    let child = Process::spawn(hold, (lock.clone(), held.clone())).unwrap();
    let pid = child.pid();
    held.wait().unwrap();
    child.kill().unwrap();
    assert_eq!(child.join().unwrap_err().signal(), Some(9));
    assert_eq!(one("process ended", "pid", pid).of("status"), "killed by SIGKILL");
    let buried = one("participant buried", "pid", pid);
    assert_eq!((buried.target, buried.level), ("multiproc::recovery", Level::WARN));
    assert_eq!((buried.of("locks"), buried.of("freed")), ("1", "0"));
    assert!(buried.of("blocks").parse::<u32>().unwrap() >= 2);
    assert_eq!(buried.of("segment").len(), 32);
}

#[test]
fn a_park_and_its_wake_are_told_and_counted() {
    let _turn = turn();
    let (event, never) = (Event::new().unwrap(), Event::new().unwrap());
    let before = wait_counts();
    // Once would do, but on a machine where the other thread does not come to sleep meanwhile.
    loop {
        event.clear().unwrap();
        let thread = std::thread::scope(|scope| {
            let sleeper = scope.spawn(|| {
                event.wait().unwrap();
                std::thread::current().id()
            });
            assert!(!never.wait_timeout(Duration::from_millis(20)).unwrap());
            event.set().unwrap();
            sleeper.join().unwrap()
        });
        let all = told();
        let of = |thread: String, ended| {
            all.iter().find(|e| e.is("parked", "thread", &thread) && e.of("ended") == ended)
        };
        let mine = of(format!("{:?}", std::thread::current().id()), "time-out").unwrap();
        assert_eq!((mine.target, mine.level), ("multiproc::wait", Level::TRACE));
        if let Some(parked) = of(format!("{thread:?}"), "woken") {
            assert_eq!(parked.of("words"), "2");
            assert!(parked.of("took_us").parse::<u64>().is_ok());
            assert!(all.iter().any(|event| event.is("woke", "woken", 1)));
            break;
        }
    }
    let after = wait_counts();
    assert!(before.parks + 2 <= after.parks && before.wakes < after.wakes, "{before:?} {after:?}");
    assert!(before.timeouts < after.timeouts && after.timeouts <= after.parks);
}

/// So many messages are sent.
const MESSAGES: u64 = 100_000;

fn sum(mut numbers: Queue<u64>) -> u64 {
    (0..MESSAGES).map(|_| numbers.recv().unwrap()).sum()
}

#[test]
fn messages_that_nobody_waits_for_are_not_told() {
    let _turn = turn();
    let mut numbers = Queue::bounded(1000).unwrap();
    let before = wait_counts();
    for number in 0..MESSAGES {
        numbers.send(number).unwrap();
        numbers.recv().unwrap();
    }
    assert_eq!(wait_counts(), before);
    assert!(told().is_empty(), "{:?}", told());
    let child = Process::spawn(sum, numbers.try_clone().unwrap()).unwrap();
    (0..MESSAGES).for_each(|number| numbers.send(number).unwrap());
    assert_eq!(child.join().unwrap(), MESSAGES * (MESSAGES - 1) / 2);
    let of_waits = told().iter().filter(|event| event.target == "multiproc::wait").count();
    // Some, when one of the two was not at work for a while.
    assert!((of_waits as u64) < MESSAGES / 20, "{of_waits}");
}

#[test]
fn a_subscriber_may_use_the_crate_and_panic() {
    let _turn = turn();
    for name in ["trouble", "user"] {
        let child = Process::builder().name(name).spawn(u32::count_ones, 7).unwrap();
        child.join().unwrap();
    }
    assert_eq!(ENDED.try_clone().unwrap().recv_timeout(LONG).unwrap(), "user 3");
    one("process ended", "name", "user");
    one("process ended", "name", "trouble");
}

#[test]
fn a_forked_process_tells_for_itself() {
    let _turn = turn();
    let never = Event::new().unwrap();
    let count = || {
        let before = heard().len();
        never.wait_timeout(Duration::from_millis(1)).unwrap();
        let heard = told().split_off(before);
        heard.iter().filter(|event| event.of("ended") == "time-out").count()
    };
    // SAFETY: no other thread has the lock of what was heard, or is changing anything else: the
    // others of this program wait for their turn, and all that there was to tell is told.
    let child = unsafe { Process::fork(count) }.unwrap();
    let pid = child.pid();
    assert!(child.join().unwrap() >= 1);
    assert_eq!(one("process started", "pid", pid).of("method"), "fork");
}

fn die(_: ()) {
    std::process::abort();
}

#[test]
fn a_pool_tells_of_its_workers_and_when_it_gives_up() {
    let _turn = turn();
    let builder = Pool::builder().name("press").workers(1).restarts(1, LONG);
    let pool = builder.build().unwrap();
    let pid = pool.pids()[0];
    let hired = one("worker started", "pid", pid);
    assert_eq!(
        (hired.target, hired.of("pool"), hired.of("worker")),
        ("multiproc::pool", "press", "1")
    );
    while pool.apply(die, ()).unwrap_err().is_worker_dead() {}
    assert_eq!(one("worker gone", "pid", pid).of("reason"), "killed by SIGABRT");
    let end = one("pool gave up", "pool", "press");
    assert_eq!((end.level, end.of("reason")), (Level::WARN, "its workers die too often"));
}

#[test]
fn a_manager_tells_of_its_server() {
    let _turn = turn();
    let manager = Manager::builder().name("registry").start().unwrap();
    let pid = manager.pid();
    assert_eq!(one("server started", "pid", pid).of("name"), "registry");
    manager.shutdown().unwrap();
    let ended = one("server ended", "pid", pid);
    assert_eq!((ended.target, ended.of("status")), ("multiproc::manager", "exit code 0"));
}
