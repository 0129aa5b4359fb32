//! Pipes, of one direction and of two: each direction is a queue with one process at each end.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use multiproc::{Array, Connection, Nothing, Pipe, Plain};
use serde::{Deserialize, Serialize};

use crate::common::{next, seed, storms, watched};
use crate::history::{Call, Model, Verdict};
use crate::log::{PROCESSES, Part, Plan, meet};
use crate::queues::{CALLS, Fifo, NOTHING, Op, SENT};

type Outlet = Connection<u64, Nothing, Plain>;
type Inlet = Connection<Nothing, u64, Plain>;

/// How many calls begin at the same time.
const BURST: u64 = 3;

/// When so many pairs of calls overlap, a pipe is believed.
const ENOUGH: usize = 200;
/// Fewer than these say nothing, however busy the machine is.
const LEAST: usize = 20;

/// Where those meet who have ends of a pipe.
#[derive(Clone, Serialize, Deserialize)]
struct Crowd {
    /// How often each of them was there.
    arrived: Array<AtomicU64>,
    size: u64,
}

impl Crowd {
    fn new(size: u64) -> Self {
        Self { arrived: Array::atomics(1, 0_u64).unwrap(), size }
    }

    /// Meets before the first call of every burst.
    fn meet_before(&self, call: u64) {
        if (call - 1).is_multiple_of(BURST) {
            self.meet();
        }
    }

    /// Goes on in the same moment as all others.
    fn meet(&self) {
        let arrived = self.arrived[0].fetch_add(1, SeqCst) + 1;
        let all = arrived.next_multiple_of(self.size);
        // Others may have to have this CPU before they can come.
        let mut looks = 0_u32;
        while self.arrived[0].load(SeqCst) < all {
            looks += 1;
            if looks.is_multiple_of(1000) {
                std::thread::yield_now();
            }
        }
    }
}

/// What is said of a pipe of two directions: which, and whether it is sent or received.
#[derive(Clone, Copy, Debug)]
struct Directed {
    direction: usize,
    op: Op,
}

impl Directed {
    /// The word in which this is written down.
    const fn word(direction: usize, op: u64) -> u64 {
        op << 1 | direction as u64
    }

    fn of(word: u64) -> Self {
        Self { direction: (word & 1) as usize, op: Op::of(word >> 1) }
    }
}

/// A pipe of two directions of one process.
struct Both(Fifo);

impl Model for Both {
    type Op = Directed;
    type State = [VecDeque<u64>; 2];

    fn first(&self) -> Self::State {
        Default::default()
    }

    fn after(&self, state: &Self::State, call: &Call<Directed>) -> Vec<Self::State> {
        let Directed { direction, op } = call.op;
        let call = Call { process: call.process, op, from: call.from, ended: call.ended };
        let after = self.0.after(&state[direction], &call).into_iter().map(|after| {
            let mut both = state.clone();
            both[direction] = after;
            both
        });
        after.collect()
    }
}

/// Whatever end of a pipe a process has. Only those that have one meet.
type Ends = (Option<Outlet>, Option<Inlet>, Crowd);

/// Tries to send, or to receive, in bursts that begin at both ends at once.
fn in_bursts(part: Part<Ends>) {
    bursts(part, |out, value| if out.try_send(value).is_ok() { SENT } else { NOTHING });
}

/// As [`in_bursts`], but says of what it sends that it is sent, and sends it with the next call.
fn too_late(part: Part<Ends>) {
    let mut owed = None;
    bursts(part, |out, value| {
        let _ = owed.replace(value).map(|owed| out.try_send(owed));
        SENT
    });
}

fn bursts(
    ((mut out, mut inn, crowd), mut log, together, _): Part<Ends>,
    mut send: impl FnMut(&mut Outlet, u64) -> u64,
) {
    meet(&together);
    if out.is_none() && inn.is_none() {
        return;
    }
    for value in 1..=CALLS as u64 {
        crowd.meet_before(value);
        if let Some(out) = &mut out {
            log.call(value, || send(out, value));
        }
        if let Some(inn) = &mut inn {
            log.call(Op::RECEIVE, || inn.try_recv().unwrap_or(NOTHING));
        }
    }
    // Nobody is told that the other end is gone.
    crowd.meet();
}

/// Sends, or receives, and waits: while one waits the other calls, so that their calls overlap.
fn patiently(part: Part<Ends>) {
    patient(part, |value| value);
}

/// As [`patiently`], but every other message overtakes the one before.
fn overtaking(part: Part<Ends>) {
    patient(part, |value| ((value - 1) ^ 1) + 1);
}

fn patient(((mut out, mut inn, _), mut log, together, _): Part<Ends>, sent: impl Fn(u64) -> u64) {
    meet(&together);
    for value in 1..=CALLS as u64 {
        if let Some(out) = &mut out {
            log.call(value, || out.send(sent(value)).map_or(NOTHING, |()| SENT));
        }
        // Whoever sent died: then there is nothing.
        if let Some(inn) = &mut inn {
            log.call(Op::RECEIVE, || inn.recv().unwrap_or(NOTHING));
        }
    }
}

/// Looks at so many histories of pipes of one direction, of this capacity.
fn look(body: fn(Part<Ends>), capacity: usize, kills: bool) -> Verdict {
    let mut random = seed();
    let mut verdict = Verdict::default();
    let plan = Plan { body, calls: CALLS, op: Op::of, kills };
    for _ in 0..60 * storms() {
        let pipe = Pipe::builder().plain().slots(capacity).simplex::<u64>();
        let (mut out, mut inn) = pipe.map(|(out, inn)| (Some(out), Some(inn))).unwrap();
        let crowd = Crowd::new(2);
        let ends = |process| match process {
            0 => (out.take(), None, crowd.clone()),
            1 => (None, inn.take(), crowd.clone()),
            _ => (None, None, crowd.clone()),
        };
        let calls = plan.record(ends, &mut random);
        verdict.add(&Fifo { capacity }, &calls);
    }
    verdict
}

/// Looks until enough calls overlap: at once, unless others have the CPUs.
fn believe(what: &str, look: impl Fn() -> Verdict) {
    let mut pairs = 0;
    for _ in 0..20 {
        let verdict = look();
        verdict.assert_right(what);
        pairs += verdict.pairs;
        if pairs >= ENOUGH {
            break;
        }
    }
    assert!(pairs >= LEAST, "{what}: only {pairs} pairs of calls overlap");
}

#[test]
fn pipes_are_queues() {
    watched("pipes_are_queues", || {
        for capacity in [1, 2, 16] {
            believe(&format!("Pipe of {capacity}"), || look(in_bursts, capacity, false));
        }
    });
}

#[test]
fn pipes_whose_users_wait_are_queues() {
    watched("pipes_whose_users_wait_are_queues", || {
        for capacity in [1, 2, 16] {
            let what = format!("Pipe of {capacity}, waiting");
            believe(&what, || look(patiently, capacity, false));
        }
    });
}

/// What was sent before the death is received, and nothing else.
#[test]
fn pipes_of_the_dead_are_queues() {
    watched("pipes_of_the_dead_are_queues", || {
        for capacity in [1, 3, 16] {
            let what = format!("Pipe of {capacity}, with a death");
            look(patiently, capacity, true).assert_right(&what);
        }
    });
}

/// What a process has of a pipe of two directions: an end, or what is only the half of one.
type Halves = (Option<Connection<u64, u64, Plain>>, Option<Outlet>, Option<Inlet>, Crowd);

/// Sends in one direction and receives in the other, at random, in bursts; halves wait.
fn both_ways(((end, mut out, mut inn, crowd), mut log, together, mut random): Part<Halves>) {
    // The second and the fourth process are at the far end.
    let direction = (random % 2) as usize;
    meet(&together);
    if let Some(mut end) = end {
        for value in 1..=CALLS as u64 {
            crowd.meet_before(value);
            if next(&mut random).is_multiple_of(2) {
                let send = || if end.try_send(value).is_ok() { SENT } else { NOTHING };
                log.call(Directed::word(direction, value), send);
            } else {
                let receive = || end.try_recv().unwrap_or(NOTHING);
                log.call(Directed::word(1 - direction, Op::RECEIVE), receive);
            }
        }
        return crowd.meet();
    }
    for value in 1..=CALLS as u64 {
        if let Some(out) = &mut out {
            let send = || out.send(value).map_or(NOTHING, |()| SENT);
            log.call(Directed::word(direction, value), send);
        }
        if let Some(inn) = &mut inn {
            let receive = || inn.recv().unwrap_or(NOTHING);
            log.call(Directed::word(1 - direction, Op::RECEIVE), receive);
        }
    }
}

/// Looks at pipes of two directions: two processes with an end each, or four with a half each.
fn look_both_ways(capacity: usize, is_split: bool) -> Verdict {
    let mut random = seed();
    let mut verdict = Verdict::default();
    let plan = Plan { body: both_ways, calls: CALLS, op: Directed::of, kills: false };
    for _ in 0..60 * storms() {
        let pipe = Pipe::builder().plain().slots(capacity).duplex::<u64, u64>();
        let (near, far) = pipe.unwrap();
        let crowd = Crowd::new(2);
        let mut halves: [Halves; PROCESSES] = if is_split {
            let ((out, inn), (far_out, far_inn)) = (near.split(), far.split());
            [(Some(out), None), (Some(far_out), None), (None, Some(inn)), (None, Some(far_inn))]
                .map(|(out, inn)| (None, out, inn, crowd.clone()))
        } else {
            [Some(near), Some(far), None, None].map(|end| (end, None, None, crowd.clone()))
        };
        let take = |process: usize| {
            let (end, out, inn, crowd) = &mut halves[process];
            (end.take(), out.take(), inn.take(), crowd.clone())
        };
        let calls = plan.record(take, &mut random);
        verdict.add(&Both(Fifo { capacity }), &calls);
    }
    verdict
}

#[test]
fn pipes_of_two_directions_are_two_queues() {
    watched("pipes_of_two_directions_are_two_queues", || {
        for capacity in [1, 2, 16] {
            let what = format!("Pipe of two directions of {capacity}");
            believe(&what, || look_both_ways(capacity, false));
            believe(&format!("{what}, in halves"), || look_both_ways(capacity, true));
        }
    });
}

#[test]
fn a_pipe_that_sends_too_late_is_caught() {
    watched("a_pipe_that_sends_too_late_is_caught", || {
        assert!(Verdict::is_caught(|| look(too_late, 16, false)));
    });
}

#[test]
fn a_pipe_in_which_messages_overtake_is_caught() {
    watched("a_pipe_in_which_messages_overtake_is_caught", || {
        assert!(Verdict::is_caught(|| look(overtaking, 2, false)));
    });
}
