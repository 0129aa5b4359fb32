//! L1, P1, P3: locks whose owners and waiters are killed with -9 or stopped, one by one and in
//! storms. There are never two owners, and whoever has the lock behind a dead one is told.
//!
//! `MULTIPROC_STORMS` makes the storms so many times as long; `MULTIPROC_SEED` repeats one.
#![allow(unsafe_code, clippy::undocumented_unsafe_blocks, reason = "memory to keep accounts in")]

mod common;

use std::sync::atomic::{AtomicU64, Ordering::*};
use std::thread;
use std::time::{Duration, Instant};

use common::ledger::{Address, Ledger, open};
use common::{assert_killed, forbid, next, seed, storms, until, watched};
use multiproc::{Connection, Lock, LockError, LockGuard, Nothing, Pipe, Process, ReentrantLock};

type Tell<T> = Connection<T, Nothing>;
type Hear<T> = Connection<Nothing, T>;

/// Takes the lock, says so, and frees it when told to.
fn hold((lock, mut say, mut told): (Lock, Tell<()>, Hear<()>)) {
    let guard = lock.lock().unwrap();
    say.send(()).unwrap();
    let _ = told.recv();
    drop(guard);
}

/// Takes the lock, says so, and stays.
fn keep((lock, mut say): (Lock, Tell<u32>)) {
    let _guard = lock.lock().unwrap();
    say.send(std::process::id()).unwrap();
    stay()
}

fn stay() -> ! {
    loop {
        thread::park();
    }
}

/// A process that has the lock until it is told to free it.
fn holder(lock: &Lock) -> (Process<()>, Tell<()>) {
    let ((say, mut hear), (tell, told)) = (Pipe::simplex().unwrap(), Pipe::simplex().unwrap());
    let process = Process::spawn(hold, (lock.clone(), say, told)).unwrap();
    hear.recv().unwrap();
    (process, tell)
}

/// Waits for the lock. The pid of the owner that died before, if one did, as it is told.
fn inherit(lock: Lock) -> Option<u32> {
    match lock.lock() {
        Ok(_) => None,
        Err(LockError::OwnerDied { pid, .. }) => Some(pid),
        Err(other) => panic!("{other}"),
    }
}

/// A process that sleeps until it gets the lock.
fn waiter(lock: &Lock) -> Process<Option<u32>> {
    let process = Process::spawn(inherit, lock.clone()).unwrap();
    until_awaited(lock);
    until(|| is_asleep(process.pid()));
    process
}

fn until_awaited(lock: &Lock) {
    until(|| format!("{lock:?}").contains("is_awaited: true"));
}

/// Whether a process sleeps in the kernel.
fn is_asleep(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(") ").next().unwrap().starts_with('S')
}

#[test]
fn whoever_waits_behind_a_dead_owner_is_told_who_it_was() {
    watched("whoever_waits_behind_a_dead_owner", || {
        let lock = Lock::new().unwrap();
        let (owner, _tell) = holder(&lock);
        let (dead, number) = (owner.pid(), lock.who_holds().unwrap().participant);
        let waiter = waiter(&lock);
        owner.kill().unwrap();
        assert_eq!(waiter.join().unwrap(), Some(dead));
        assert_killed(owner.join());
        assert!(lock.is_poisoned() && !lock.is_locked());
        let poisoned = lock.lock().unwrap_err();
        assert!(poisoned.is_owner_dead() && poisoned.is_poisoned());
        assert!(poisoned.to_string().contains(&format!("process {dead}")), "{poisoned}");
        let LockError::OwnerDied { guard, participant, pid } = poisoned else { panic!() };
        assert_eq!((participant, pid), (number, dead));
        lock.clear_poison();
        drop(guard);
        assert!(!lock.is_poisoned());
        drop(lock.lock().unwrap());
    });
}

#[test]
fn the_parent_inherits_from_its_child() {
    watched("the_parent_inherits_from_its_child", || {
        let lock = Lock::new().unwrap();
        let (owner, _tell) = holder(&lock);
        let dead = owner.pid();
        thread::scope(|scope| {
            let waiter = scope.spawn(|| inherit(lock.clone()));
            until_awaited(&lock);
            owner.kill().unwrap();
            assert_eq!(waiter.join().unwrap(), Some(dead));
        });
        // Recovered once more by nobody: what is poisoned stays so, and is got as such.
        assert_killed(owner.join());
        drop(lock.lock().or_else(LockError::recover).unwrap());
        assert!(lock.try_lock().unwrap_err().is_owner_dead());
    });
}

#[test]
fn a_reentrant_lock_of_the_dead_is_free_on_all_its_levels() {
    fn deep((lock, mut say): (ReentrantLock, Tell<()>)) {
        let _guards = [lock.lock().unwrap(), lock.lock().unwrap(), lock.lock().unwrap()];
        say.send(()).unwrap();
        stay()
    }
    watched("a_reentrant_lock_of_the_dead", || {
        let lock = ReentrantLock::new().unwrap();
        let (say, mut hear) = Pipe::simplex().unwrap();
        let owner = Process::spawn(deep, (lock.clone(), say)).unwrap();
        hear.recv().unwrap();
        assert_eq!(lock.who_holds().unwrap().count, 3);
        owner.kill().unwrap();
        let guard = lock.lock().unwrap_err();
        assert!(guard.is_owner_dead());
        let guard = guard.into_inner().unwrap();
        assert_eq!(guard.depth(), 1);
        // Told at the first level, and not at those above.
        assert_eq!(lock.lock().unwrap().depth(), 2);
        drop(guard);
        assert!(!lock.is_locked());
        assert_killed(owner.join());
    });
}

#[test]
fn a_waiter_that_is_killed_leaves_nothing_behind() {
    watched("a_waiter_that_is_killed_leaves_nothing_behind", || {
        let lock = Lock::new().unwrap();
        let (owner, mut tell) = holder(&lock);
        let victims = [waiter(&lock), waiter(&lock)];
        let heir = waiter(&lock);
        for victim in victims {
            victim.kill().unwrap();
            assert_killed(victim.join());
        }
        tell.send(()).unwrap();
        assert_eq!(heir.join().unwrap(), None);
        owner.join().unwrap();
        assert!(!lock.is_poisoned());
        drop(lock.lock().unwrap());
    });
}

#[test]
fn an_owner_that_is_stopped_is_not_dead() {
    watched("an_owner_that_is_stopped_is_not_dead", || {
        let lock = Lock::new().unwrap();
        let (owner, mut tell) = holder(&lock);
        let waiter = waiter(&lock);
        owner.signal(libc::SIGSTOP).unwrap();
        // Ten backstops long, each of which suspects the owner.
        assert!(lock.lock_timeout(Duration::from_secs(1)).unwrap_err().is_timeout());
        assert_eq!(lock.who_holds().unwrap().pid, owner.pid());
        assert!(waiter.is_alive() && !lock.is_poisoned());
        tell.send(()).unwrap();
        owner.signal(libc::SIGCONT).unwrap();
        assert_eq!(waiter.join().unwrap(), None);
        owner.join().unwrap();
        drop(lock.lock().unwrap());
    });
}

#[test]
fn an_owner_that_is_killed_while_stopped_is_dead() {
    watched("an_owner_that_is_killed_while_stopped_is_dead", || {
        let lock = Lock::new().unwrap();
        let (owner, _tell) = holder(&lock);
        let waiter = waiter(&lock);
        owner.signal(libc::SIGSTOP).unwrap();
        owner.kill().unwrap();
        assert_eq!(waiter.join().unwrap(), Some(owner.pid()));
    });
}

/// An owner that leaves in order, but through `exit`, has not freed its lock: its data may be torn.
#[test]
fn who_exits_with_the_lock_is_gone_as_the_dead_are() {
    fn exits(lock: Lock) {
        let _guard = lock.lock().unwrap();
        std::process::exit(3);
    }
    watched("who_exits_with_the_lock", || {
        let lock = Lock::new().unwrap();
        let owner = Process::spawn(exits, lock.clone()).unwrap();
        let dead = owner.pid();
        assert_eq!(owner.join().unwrap_err().code(), Some(3));
        assert_eq!(inherit(lock), Some(dead));
    });
}

#[test]
fn a_stranger_that_dies_is_found_out_by_those_who_wait() {
    /// Has a child that has the lock and outlives it.
    fn parent(kept: (Lock, Tell<u32>)) {
        let child = Process::builder().daemon(false).spawn(keep, kept).unwrap();
        // Killed before it could end the child.
        let _ = child.join();
    }
    watched("a_stranger_that_dies", || {
        let lock = Lock::new().unwrap();
        let (say, mut hear) = Pipe::simplex().unwrap();
        let process = Process::spawn(parent, (lock.clone(), say)).unwrap();
        let orphan = hear.recv().unwrap();
        process.kill().unwrap();
        assert_killed(process.join());
        let waiter = waiter(&lock);
        // The orphan is nobody's child here, stays for ever, and so still has its number.
        unsafe { libc::kill(orphan as i32, libc::SIGKILL) };
        assert_eq!(waiter.join().unwrap(), Some(orphan));
    });
}

/// So many processes there can ever be in one storm.
const ACTORS: usize = 4096;

/// What two accounts have together at any time that nobody is inside.
const WEALTH: u64 = 1_000_000;

/// What everybody writes down, in memory that outlives them all.
#[repr(C)]
struct Board {
    /// Nobody is to go on.
    is_over: AtomicU64,
    actors: AtomicU64,
    /// Who is inside: it thinks so itself, or did when it died.
    inside: AtomicU64,
    accounts: [AtomicU64; 2],
    /// How often the lock was got, and how often from the dead.
    turns: AtomicU64,
    inherited: AtomicU64,
    /// How many died inside, as the accounts say.
    torn: AtomicU64,
    /// How often each one was inside.
    visits: [AtomicU64; ACTORS],
}

impl Board {
    /// What one does who has the lock: moves some money, not at once.
    fn visit(&self, me: u64, has_died: bool, random: &mut u64) {
        let before = self.inside.swap(me, Relaxed);
        assert!(before == 0 || has_died, "{before} is inside, and {me} too");
        let [from, to] = if next(random).is_multiple_of(2) { [0, 1] } else { [1, 0] };
        let [from, to] = [&self.accounts[from], &self.accounts[to]];
        if from.load(Relaxed) + to.load(Relaxed) != WEALTH {
            assert!(has_died, "torn, and nobody said so");
            self.torn.fetch_add(1, Relaxed);
            to.store(WEALTH - from.load(Relaxed), Relaxed);
        }
        let amount = next(random) % (from.load(Relaxed) + 1);
        from.store(from.load(Relaxed) - amount, Relaxed);
        if next(random).is_multiple_of(8) {
            thread::yield_now();
        }
        to.store(to.load(Relaxed) + amount, Relaxed);
        self.turns.fetch_add(1, Relaxed);
        self.inherited.fetch_add(has_died.into(), Relaxed);
        let mine = self.inside.compare_exchange(me, 0, Relaxed, Relaxed);
        assert!(mine.is_ok(), "{me} was inside, and {mine:?} too");
    }
}

/// Takes the lock again and again, in all the ways there are, until it is killed or all is over.
fn act(lock: &Lock, board: &Board) {
    let me = board.actors.fetch_add(1, Relaxed) + 1;
    let mut random = me;
    while board.is_over.load(Relaxed) == 0 {
        let got = match next(&mut random) % 4 {
            0 => lock.try_lock(),
            1 => lock.lock_timeout(Duration::from_micros(next(&mut random) % 200)),
            _ => lock.lock(),
        };
        enter(lock, board, me, &mut random, got);
    }
}

fn enter(
    lock: &Lock,
    board: &Board,
    me: u64,
    random: &mut u64,
    got: Result<LockGuard<'_>, LockError<LockGuard<'_>>>,
) {
    let (guard, has_died) = match got {
        Ok(guard) => (guard, false),
        Err(LockError::OwnerDied { guard, .. }) => (guard, true),
        Err(LockError::WouldBlock | LockError::TimedOut) => return,
        Err(other) => panic!("{other}"),
    };
    board.visit(me, has_died, random);
    board.visits[me as usize % ACTORS].fetch_add(1, Relaxed);
    if has_died {
        lock.clear_poison();
    }
    drop(guard);
}

/// Some that act, of whom one after the other is killed and replaced, or stopped for a while.
struct Gang<'a> {
    lock: &'a Lock,
    board: &'a Board,
    random: u64,
}

impl Gang<'_> {
    const SIZE: usize = 3;

    fn hire(&self) -> Process<()> {
        // The copy shares nothing with other threads but the locks of the crate, which it has by
        // right.
        unsafe { Process::fork(|| act(self.lock, self.board)) }.unwrap()
    }

    fn run(&mut self, rounds: usize) {
        let mut gang: Vec<_> = (0..Self::SIZE).map(|_| self.hire()).collect();
        for _ in 0..rounds {
            self.dawdle();
            let place = next(&mut self.random) as usize % Self::SIZE;
            if next(&mut self.random).is_multiple_of(8) {
                gang[place].signal(libc::SIGSTOP).unwrap();
                self.dawdle();
                gang[place].signal(libc::SIGCONT).unwrap();
            } else {
                let victim = std::mem::replace(&mut gang[place], self.hire());
                victim.kill().unwrap();
                assert_killed(victim.join());
            }
        }
        // A turn of somebody, whoever it is, shows that nobody hangs.
        let turns = self.board.turns.load(Relaxed);
        until(|| turns + 100 < self.board.turns.load(Relaxed));
        for member in gang {
            member.kill().unwrap();
            assert_killed(member.join());
        }
    }

    /// Lets the others run: up to 4 ms, so that the kill comes at any moment.
    fn dawdle(&mut self) {
        let time = Duration::from_micros(next(&mut self.random) % 4000);
        let start = Instant::now();
        while start.elapsed() < time {
            thread::yield_now();
        }
    }
}

/// What a leader of a gang needs.
type Order = (Lock, Address, u64, usize);

fn lead((lock, address, random, rounds): Order) {
    Gang { lock: &lock, board: open(address), random }.run(rounds);
}

/// As `lead`, of a gang that is in another namespace of PIDs. Whether there can be one.
fn lead_elsewhere((lock, address, random, rounds): Order) -> Result<(), String> {
    let board = open(address);
    // One may do the first alone, and no thread may begin behind the second: hence the fork between
    // them, which makes the crate start its own.
    unshare(libc::CLONE_NEWUSER)?;
    unsafe { Process::fork(|| ()) }.unwrap().join().unwrap();
    unshare(libc::CLONE_NEWPID)?;
    // In there the number of this process is zero, and the children insist on it.
    forbid(libc::SYS_getpid, None, 0);
    // The first one is the init of the namespace, which must not end before the others do.
    let outside = namespace();
    let init = move || {
        assert_ne!(namespace(), outside);
        stay()
    };
    let init = unsafe { Process::<()>::fork(init) }.unwrap();
    Gang { lock: &lock, board, random }.run(rounds);
    init.kill().unwrap();
    assert_killed(init.join());
    Ok(())
}

fn namespace() -> std::path::PathBuf {
    std::fs::read_link("/proc/thread-self/ns/pid").unwrap()
}

fn unshare(what: i32) -> Result<(), String> {
    let cause = || format!("unshare({what:#x}): {}", std::io::Error::last_os_error());
    (unsafe { libc::unshare(what) } == 0).then_some(()).ok_or_else(cause)
}

/// Ends what still acts when the storm is over, also when it ends badly.
struct Over(&'static Board);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.is_over.store(1, Relaxed);
    }
}

/// Two gangs at one lock, and the account of what they did.
fn storm(led: impl FnOnce(Order, Order)) {
    let seed = seed();
    let (lock, ledger) = (Lock::new().unwrap(), Ledger::<Board>::new());
    let board = ledger.board;
    board.accounts[0].store(WEALTH, Relaxed);
    let _over = Over(board);
    let order = |number| (lock.clone(), ledger.address(), seed + number, 150 * storms());
    led(order(1), order(2));
    // Nobody acts any more: the last who died may have left something.
    let mut random = seed;
    let got = lock.lock();
    enter(&lock, board, ACTORS as u64 - 1, &mut random, got);
    assert!(!lock.is_locked() && !lock.is_poisoned());
    let read = |word: &AtomicU64| word.load(Relaxed);
    let [turns, inherited, torn] = [&board.turns, &board.inherited, &board.torn].map(read);
    let actors = read(&board.actors);
    println!("{actors} actors, {turns} turns, {inherited} from the dead, {torn} of them torn");
    assert_eq!(board.accounts.iter().map(read).sum::<u64>(), WEALTH);
    assert!(inherited > 0, "nobody died inside");
}

#[test]
fn a_storm_never_sees_two_owners() {
    watched("a_storm_never_sees_two_owners", || {
        storm(|one, other| {
            let gangs = [one, other].map(|order| Process::spawn(lead, order).unwrap());
            gangs.into_iter().for_each(|gang| gang.join().unwrap());
        });
    });
}

#[test]
fn a_storm_in_two_namespaces_of_pids_never_sees_two_owners() {
    watched("a_storm_in_two_namespaces", || {
        storm(|here, there| {
            let gang = Process::spawn(lead, here).unwrap();
            match Process::spawn(lead_elsewhere, there).unwrap().join().unwrap() {
                Ok(()) => println!("in two namespaces"),
                Err(cause) => println!("skipped, in one namespace only: {cause}"),
            }
            gang.join().unwrap();
        });
    });
}
