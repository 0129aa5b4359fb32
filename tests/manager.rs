//! A manager hosts any object, hands out what is shared, and says what goes wrong in a call.

mod common;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use common::{until, watched};
use multiproc::{
    Array, Barrier, Condition, Connection, ErrorKind, Event, Lock, Manager, ManagerClient, Nothing,
    Pipe, Process, Proxy, Queue, ReentrantLock, RwLock, Semaphore, StartMethod, Value,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A type of the user's.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Account {
    owner: String,
    balance: i64,
}

impl Account {
    fn new(owner: String) -> Self {
        Self { owner, balance: 0 }
    }

    fn deposit(&mut self, amount: i64) -> i64 {
        self.balance += amount;
        self.balance
    }

    fn balance(&self, (): ()) -> i64 {
        self.balance
    }

    /// Takes the money, and panics if it is not there.
    fn withdraw(&mut self, amount: i64) {
        self.balance -= amount;
        assert!(self.balance >= 0, "{} has {amount} no more", self.owner);
    }
}

fn account(manager: &ManagerClient) -> Proxy<Account> {
    manager.host(Account::new("anna".to_owned())).unwrap()
}

fn assert_works(account: &Proxy<Account>, expected: i64) {
    assert_eq!(account.call(Account::deposit, 1).unwrap(), expected + 1);
    assert_eq!(account.call(Account::deposit, -1).unwrap(), expected);
}

#[test]
fn a_type_of_the_users_is_hosted_and_called() {
    watched("a_type_of_the_users", || {
        let manager = Manager::start().unwrap();
        let account = account(&manager);
        assert_eq!(account.call(Account::deposit, 30).unwrap(), 30);
        assert_eq!(account.read(Account::balance, ()).unwrap(), 30);
        let from_made = manager.host_with(Account::new, "bert".to_owned()).unwrap();
        assert_eq!(from_made.read(|made, ()| made.owner.clone(), ()).unwrap(), "bert");
        assert_ne!(from_made.id(), account.id());
        assert!(from_made != account && account == account.clone());
        assert_ne!(manager.run(|()| std::process::id(), ()).unwrap(), std::process::id());
        assert_eq!(manager.run(|()| std::process::id(), ()).unwrap(), manager.pid());
    });
}

type Shapes = (u8, (), Option<String>, [u64; 3], BTreeMap<i8, Vec<f32>>, Result<char, String>);

fn shapes() -> Shapes {
    let map = BTreeMap::from([(-1, vec![0.5; 3]), (2, Vec::new())]);
    (7, (), Some("text".to_owned()), [u64::MAX, 0, 1], map, Err("no".to_owned()))
}

#[test]
fn arguments_and_results_have_any_shape() {
    watched("any_shape", || {
        let manager = Manager::start().unwrap();
        let shaped = manager.host(shapes()).unwrap();
        assert_eq!(shaped.call(std::mem::replace, shapes()).unwrap(), shapes());
        assert!(shaped.read(|value, other: Shapes| *value == other, shapes()).unwrap());
        assert_eq!(shaped.read(|value, ()| value.clone(), ()).unwrap(), shapes());
        shaped.call(|value, ()| value.2 = None, ()).unwrap();
        assert_eq!(shaped.read(|value, ()| value.2.clone(), ()).unwrap(), None);
        let nothing = manager.host(()).unwrap();
        nothing.call(|(), ()| (), ()).unwrap();
        let text = manager.run(|text: Box<str>| text.to_uppercase(), "text".into()).unwrap();
        assert_eq!(text, "TEXT");
    });
}

fn alone((): ()) -> u8 {
    panic!("alone")
}

fn with_lock(lock: &mut Lock, event: Event) -> (Lock, Event, Proxy<Lock>) {
    let guard = lock.lock().unwrap();
    event.set().unwrap();
    drop(guard);
    panic!("it has a proxy of nothing")
}

#[derive(Serialize, Deserialize)]
struct Cabinet {
    lock: Lock,
    drawer: Option<Proxy<Account>>,
    line: Mutex<Option<Connection<String, Nothing>>>,
}

impl Cabinet {
    fn line(&mut self) -> &mut Option<Connection<String, Nothing>> {
        self.line.get_mut().unwrap()
    }
}

#[test]
fn arguments_and_results_have_handles_in_them() {
    watched("handles_in_them", || {
        let manager = Manager::start().unwrap();
        let lock = Lock::new().unwrap();
        let cabinet = Cabinet { lock: lock.clone(), drawer: None, line: Mutex::default() };
        let cabinet = manager.host(cabinet).unwrap();

        let theirs = cabinet.read(|cabinet, ()| cabinet.lock.clone(), ()).unwrap();
        let guard = theirs.lock().unwrap();
        assert!(lock.is_locked() && theirs == lock);
        let is_free = |cabinet: &Cabinet, ()| cabinet.lock.try_lock().is_ok();
        assert!(!cabinet.read(is_free, ()).unwrap());
        drop(guard);
        assert!(cabinet.read(is_free, ()).unwrap());

        let account = account(&manager);
        let put = |cabinet: &mut Cabinet, drawer| cabinet.drawer.replace(drawer);
        assert!(cabinet.call(put, account.clone()).unwrap().is_none());
        let again = cabinet.call(put, account.clone()).unwrap().unwrap();
        assert_eq!(again, account);
        assert_works(&again, 0);

        let (there, mut here) = Pipe::simplex::<String>().unwrap();
        cabinet.call(|cabinet, line| *cabinet.line() = Some(line), there).unwrap();
        let say = |cabinet: &mut Cabinet, what| {
            cabinet.line().as_mut().unwrap().send(what).unwrap();
        };
        cabinet.call(say, "from the server".to_owned()).unwrap();
        assert_eq!(here.recv().unwrap(), "from the server");
        let mut line = cabinet.call(|cabinet, ()| cabinet.line().take(), ()).unwrap().unwrap();
        line.send("from here".to_owned()).unwrap();
        assert_eq!(here.recv().unwrap(), "from here");
    });
}

#[test]
fn a_panic_ends_its_call_alone() {
    watched("a_panic_ends_its_call_alone", || {
        let manager = Manager::start().unwrap();
        let account = account(&manager);
        account.call(Account::deposit, 5).unwrap();
        let error = account.call(Account::withdraw, 8).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Worker);
        let said = said(&error);
        assert!(
            said.contains("anna has 8 no more") && said.contains("tests/manager.rs:"),
            "{said}"
        );
        // As it was when it panicked.
        assert_eq!(account.read(Account::balance, ()).unwrap(), -3);
        assert_works(&account, -3);
        let error = account.read(|_, ()| -> u8 { panic!("while it reads") }, ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Worker);
        assert_works(&account, -3);
        let lock = manager.host(Lock::new().unwrap()).unwrap();
        let event = Event::new().unwrap();
        assert_eq!(lock.call(with_lock, event.clone()).unwrap_err().kind(), ErrorKind::Worker);
        assert!(event.is_set() && !lock.call(|lock, ()| lock.is_poisoned(), ()).unwrap());
        assert_eq!(manager.run(alone, ()).unwrap_err().kind(), ErrorKind::Worker);
        let made: Result<Proxy<u8>, _> = manager.host_with(alone, ());
        assert_eq!(made.unwrap_err().kind(), ErrorKind::Worker);
    });
}

/// An error with what caused it.
fn said(error: &dyn std::error::Error) -> String {
    let cause = error.source().map(said).unwrap_or_default();
    format!("{error}: {cause}")
}

/// Where something goes wrong on its way.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Fault {
    None,
    Encode,
    EncodePanics,
    Decode,
    DecodePanics,
    DropPanics,
}

/// What does not survive a part of its way. Its fault in a drop is one of the server.
#[derive(Debug)]
struct Fragile(Fault);

impl Serialize for Fragile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Fault::Encode => Err(serde::ser::Error::custom("it cannot be written")),
            Fault::EncodePanics => panic!("it panics as it is written"),
            fault => fault.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Fragile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Fault::deserialize(deserializer)? {
            Fault::Decode => Err(serde::de::Error::custom("it cannot be read")),
            Fault::DecodePanics => panic!("it panics as it is read"),
            fault => Ok(Self(fault)),
        }
    }
}

impl Drop for Fragile {
    fn drop(&mut self) {
        let is_server = multiproc::current().name() == "fragile";
        assert!(self.0 != Fault::DropPanics || !is_server, "it panics as it is dropped");
    }
}

/// Has an argument of its own way.
fn try_argument(object: &Proxy<Account>, fault: Fault) -> multiproc::Result<()> {
    object.call(|_, argument: Fragile| drop(argument), Fragile(fault))
}

fn try_result(object: &Proxy<Account>, fault: Fault) -> multiproc::Result<Fault> {
    let result = object.call(|_, fault| Fragile(fault), fault);
    result.map(|fragile| fragile.0)
}

/// Gives the panic of this process an end.
fn caught<R>(act: impl FnOnce() -> multiproc::Result<R>) -> Option<multiproc::Result<R>> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(act)).ok()
}

#[test]
fn what_cannot_be_carried_fails_alone() {
    use Fault::*;
    watched("what_cannot_be_carried", || {
        let manager = Manager::builder().name("fragile").start().unwrap();
        let object = account(&manager);
        let clients = |()| manager.debug_info().unwrap().clients.len();
        assert_eq!(clients(()), 1);
        for fault in [None, Encode, EncodePanics, Decode, DecodePanics, DropPanics] {
            let argument = caught(|| try_argument(&object, fault)).map(|done| done.map_err(kind));
            assert_works(&object, 0);
            let result = caught(|| try_result(&object, fault)).map(|done| done.map_err(kind));
            assert_works(&object, 0);
            let codec = Err(ErrorKind::Codec);
            let (wanted_argument, wanted_result) = match fault {
                None => (Some(Ok(())), Some(Ok(fault))),
                Encode | Decode => (Some(codec), Some(Err(ErrorKind::Codec))),
                // What panics in this process is this process's own.
                EncodePanics => (Option::None, Some(Err(ErrorKind::Codec))),
                DecodePanics => (Some(codec), Option::None),
                DropPanics => (Some(Err(ErrorKind::Worker)), Some(Ok(fault))),
            };
            assert_eq!((argument, result), (wanted_argument, wanted_result), "{fault:?}");
        }
        // Whoever lost a pipe by it has a new one, and the server none that nobody has.
        until(|| clients(()) == 1);
    });
}

fn kind(error: multiproc::Error) -> ErrorKind {
    error.kind()
}

#[test]
fn readers_meet_and_writers_do_not() {
    watched("readers_meet", || {
        let manager = Manager::start().unwrap();
        let object = manager.host(0_u64).unwrap();
        let barrier = Barrier::new(3).unwrap();
        thread::scope(|scope| {
            for (object, barrier) in [(&object, &barrier); 3] {
                let meet = |_: &u64, barrier: Barrier| barrier.wait().is_ok();
                scope.spawn(move || assert!(object.read(meet, barrier.clone()).unwrap()));
            }
        });
        // A load and a store that nobody is between.
        let add = |value: &mut u64, ()| {
            let before = std::hint::black_box(*value);
            thread::yield_now();
            *value = before + 1;
        };
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..250).for_each(|_| object.call(add, ()).unwrap()));
            }
        });
        assert_eq!(object.read(|value, ()| *value, ()).unwrap(), 1000);
    });
}

#[test]
fn a_writer_keeps_readers_out() {
    watched("a_writer_keeps_readers_out", || {
        let manager = Manager::start().unwrap();
        let object = manager.host(0_u64).unwrap();
        let (begun, go_on) = (Event::new().unwrap(), Event::new().unwrap());
        let change = |value: &mut u64, (begun, go_on): (Event, Event)| {
            *value = 1;
            begun.set().unwrap();
            go_on.wait().unwrap();
            *value = 2;
        };
        thread::scope(|scope| {
            let events = (begun.clone(), go_on.clone());
            scope.spawn(|| object.call(change, events).unwrap());
            begun.wait().unwrap();
            let reader = scope.spawn(|| object.read(|value, ()| *value, ()).unwrap());
            // A reader that does not wait for the writer is here soon.
            let hurried = object.with_timeout(Duration::from_millis(50));
            let error = hurried.read(|value, ()| *value, ()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Timeout);
            go_on.set().unwrap();
            assert_eq!(reader.join().unwrap(), 2);
        });
    });
}

#[test]
fn a_slow_call_is_in_no_others_way() {
    watched("a_slow_call", || {
        let manager = Manager::start().unwrap();
        let (slow, other) = (account(&manager), account(&manager));
        let (begun, go_on) = (Event::new().unwrap(), Event::new().unwrap());
        let wait = |_: &mut Account, (begun, go_on): (Event, Event)| {
            begun.set().unwrap();
            go_on.wait().unwrap();
        };
        thread::scope(|scope| {
            let events = (begun.clone(), go_on.clone());
            let call = scope.spawn(|| slow.call(wait, events).unwrap());
            begun.wait().unwrap();
            (0..100).for_each(|_| assert_works(&other, 0));
            assert_works(&account(&manager), 0);
            assert!(!call.is_finished());
            go_on.set().unwrap();
        });
    });
}

#[test]
fn large_values_pass() {
    const LARGE: usize = 64 << 20;
    watched("large_values_pass", || {
        let manager = Manager::start().unwrap();
        let object = manager.host(Vec::<u8>::new()).unwrap();
        let bytes: Vec<u8> = (0..LARGE).map(|at| (at ^ at >> 8) as u8).collect();
        object.call(|object, bytes| *object = bytes, bytes.clone()).unwrap();
        assert_eq!(object.read(|object, ()| object.len(), ()).unwrap(), LARGE);
        assert!(object.read(|object, ()| object.clone(), ()).unwrap() == bytes);
        assert_eq!(object.call(|object, ()| object.pop(), ()).unwrap(), bytes.last().copied());
    });
}

fn deposit_often((account, times, threads): (Proxy<Account>, usize, usize)) {
    thread::scope(|scope| {
        for account in (0..threads).map(|_| &account) {
            let deposit = |_| assert!(account.call(Account::deposit, 1).unwrap() > 0);
            scope.spawn(move || (0..times).for_each(deposit));
        }
    });
}

#[test]
fn many_clients_with_many_threads() {
    watched("many_clients", || {
        let manager = Manager::start().unwrap();
        let account = account(&manager);
        let spawn = |_| Process::spawn(deposit_often, (account.clone(), 200, 4)).unwrap();
        let children: Vec<_> = (0..8).map(spawn).collect();
        children.into_iter().for_each(|child| child.join().unwrap());
        assert_eq!(account.read(Account::balance, ()).unwrap(), 8 * 4 * 200);
        until(|| manager.debug_info().unwrap().clients == [std::process::id()]);
        let info = manager.debug_info().unwrap();
        assert_eq!((info.pid, info.objects.len()), (manager.pid(), 1));
        let object = &info.objects[0];
        assert_eq!((object.id, object.holders), (account.id(), 1));
        assert!(object.type_name.ends_with("Account") && object.calls > 6400);
    });
}

fn make(manager: ManagerClient) -> Proxy<Account> {
    let account = manager.host(Account::new("child".to_owned())).unwrap();
    account.call(Account::deposit, 4).unwrap();
    account
}

fn make_through(mut inn: Connection<Nothing, ManagerClient>) -> Proxy<Account> {
    make(inn.recv().unwrap())
}

#[test]
fn a_client_travels() {
    watched("a_client_travels", || {
        let manager = Manager::start().unwrap();
        let account = Process::spawn(make, manager.client()).unwrap().join().unwrap();
        assert_works(&account, 4);
        let (mut out, inn) = Pipe::simplex().unwrap();
        let child = Process::spawn(make_through, inn).unwrap();
        out.send(manager.client()).unwrap();
        assert_works(&child.join().unwrap(), 4);
        // Also to its own server, where it makes objects in place.
        let made = manager.run(make, manager.client()).unwrap();
        assert_works(&made, 4);
        let hosted = manager.host(manager.client()).unwrap();
        let made = hosted.read(|manager, ()| make(manager.clone()), ()).unwrap();
        assert_works(&made, 4);
        assert_eq!(hosted.read(|manager, ()| manager.clone(), ()).unwrap(), manager.client());
    });
}

#[test]
fn every_start_method_makes_a_server() {
    watched("every_start_method", || {
        for method in [StartMethod::ForkServer, StartMethod::Spawn] {
            let manager = Manager::builder().name("mine").start_method(method).start().unwrap();
            assert_eq!(
                manager.run(|()| multiproc::current().name().to_owned(), ()).unwrap(),
                "mine"
            );
            let account = account(&manager);
            let child = Process::builder().start_method(method);
            child.spawn(deposit_often, (account.clone(), 10, 2)).unwrap().join().unwrap();
            assert_works(&account, 20);
            drop(account);
            until(|| manager.debug_info().unwrap().objects.is_empty());
            manager.shutdown().unwrap();
        }
    });
}

#[test]
fn a_proxy_is_taken_for_no_other() {
    watched("a_proxy_is_taken_for_no_other", || {
        let manager = Manager::start().unwrap();
        let account = account(&manager);
        let (mut out, inn) = Pipe::simplex::<Proxy<Account>>().unwrap();
        out.send(account.clone()).unwrap();
        drop(inn);
        // The bytes of one, with its handle beside them, in the place of one of another type.
        #[derive(Debug, Serialize)]
        struct Disguised(Proxy<Account>);
        impl<'de> Deserialize<'de> for Disguised {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let other = Proxy::<u64>::deserialize(deserializer)?;
                panic!("an account is {other:?}")
            }
        }
        let (mut out, mut inn) = Pipe::simplex::<Disguised>().unwrap();
        out.send(Disguised(account.clone())).unwrap();
        let error = inn.recv().unwrap_err();
        assert!(said(&error).contains("another type"), "{}", said(&error));
        let error = object_with(&manager).call(|(), _: Disguised| (), Disguised(account.clone()));
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Codec);
        assert_works(&account, 0);
        assert!(serde_json::to_string(&account).is_err(), "outside a parcel");
        assert!(serde_json::to_string(&manager.client()).is_err(), "outside a parcel");
        assert!(serde_json::from_str::<Proxy<Account>>("[]").is_err());
    });
}

fn object_with(manager: &ManagerClient) -> Proxy<()> {
    manager.host(()).unwrap()
}

/// What M4 has of one manager.
#[derive(Clone, Serialize, Deserialize)]
struct Office {
    lock: Lock,
    rlock: ReentrantLock,
    rwlock: RwLock,
    semaphore: Semaphore,
    bounded: Semaphore,
    condition: Condition,
    event: Event,
    barrier: Barrier,
    queue: Queue<String>,
    endless: Queue<u8>,
    value: Value<i64>,
    array: Array<u32>,
    namespace: Proxy<BTreeMap<String, i64>>,
}

fn office(manager: &ManagerClient) -> Office {
    Office {
        lock: manager.lock().unwrap(),
        rlock: manager.reentrant_lock().unwrap(),
        rwlock: manager.rw_lock().unwrap(),
        semaphore: manager.semaphore(2).unwrap(),
        bounded: manager.bounded_semaphore(1).unwrap(),
        condition: manager.condition().unwrap(),
        event: manager.event().unwrap(),
        barrier: manager.barrier(2).unwrap(),
        queue: manager.queue(4).unwrap(),
        endless: manager.unbounded_queue().unwrap(),
        value: manager.value(0).unwrap(),
        array: manager.array(vec![0; 8]).unwrap(),
        namespace: manager.host(BTreeMap::new()).unwrap(),
    }
}

/// What each of the two clerks does: whatever both change, they change under a lock.
fn clerk((mut office, name): (Office, u32)) {
    let begun = office.barrier.wait().unwrap();
    for _ in 0..100 {
        let outer = office.rlock.lock().unwrap();
        let inner = office.rlock.lock().unwrap();
        let _permit = office.semaphore.acquire().unwrap();
        let _bounded = office.bounded.acquire().unwrap();
        let _guard = office.lock.lock().unwrap();
        let _write = office.rwlock.write().unwrap();
        let before = office.value.get().unwrap();
        office.array.set(name as usize, office.array.get(name as usize).unwrap() + 1).unwrap();
        office.value.set(before + 1).unwrap();
        drop((inner, outer));
    }
    let note = |space: &mut BTreeMap<String, i64>, name: u32| space.insert(name.to_string(), 1);
    office.namespace.call(note, name).unwrap();
    office.queue.send(format!("clerk {name}")).unwrap();
    office.endless.send(name as u8).unwrap();
    office.event.wait().unwrap();
    let guard = office.lock.lock().unwrap();
    let array = office.array.clone();
    let is_closed = move || array.get(7).unwrap() == 1;
    let _guard = wait_until(&office.condition, guard, is_closed);
    assert!(begun.index() < 2);
}

fn wait_until<'a>(
    condition: &Condition,
    mut guard: multiproc::LockGuard<'a>,
    is_so: impl Fn() -> bool,
) -> multiproc::LockGuard<'a> {
    while !is_so() {
        guard = condition.wait(guard).unwrap();
    }
    guard
}

#[test]
fn m4_what_is_shared_comes_from_one_manager() {
    watched("m4", || {
        let manager = Manager::start().unwrap();
        let mut office = office(&manager);
        let spawn = |name| Process::spawn(clerk, (office.clone(), name)).unwrap();
        let clerks = [0, 1].map(spawn);
        let mut heard = [office.queue.recv().unwrap(), office.queue.recv().unwrap()];
        heard.sort();
        assert_eq!(heard, ["clerk 0", "clerk 1"]);
        assert_eq!(office.endless.recv().unwrap() + office.endless.recv().unwrap(), 1);
        assert_eq!(office.value.get().unwrap(), 200);
        assert_eq!(office.array.to_vec().unwrap()[..2], [100, 100]);
        assert_eq!((office.semaphore.available(), office.bounded.available()), (2, 1));
        assert!(office.bounded.release().is_err() && office.semaphore.release().is_ok());
        office.event.set().unwrap();
        let guard = office.lock.lock().unwrap();
        office.array.set(7, 1).unwrap();
        office.condition.notify_all().unwrap();
        drop(guard);
        clerks.into_iter().for_each(|clerk| clerk.join().unwrap());
        let space = office.namespace.read(|space, ()| space.clone(), ()).unwrap();
        assert_eq!(space.into_iter().collect::<Vec<_>>(), [("0".into(), 1), ("1".into(), 1)]);
        // They need no manager, and outlive it.
        manager.shutdown().unwrap();
        assert_eq!(office.value.get().unwrap(), 200);
        assert!(!office.lock.is_locked() && office.lock.lock().is_ok());
        let error = office.namespace.read(|space, ()| space.len(), ()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Disconnected);
    });
}
