//! What is made of the crates shared_memory and raw_sync: room for one message, and two events.
#![allow(unsafe_code, reason = "raw_sync is made by unsafe functions")]

use std::marker::PhantomData;

use bytemuck::Pod;
use raw_sync::Timeout;
use raw_sync::events::{Event, EventImpl, EventInit, EventState};
use shared_memory::{Shmem, ShmemConf};

use super::{Channel, Load};
use crate::support::memory::SharedBytes;

/// What an event takes at the most, and a multiple of its alignment.
const EVENT: usize = 256;

/// Room for one message in a segment of shared_memory, whose end is told by raw_sync's events.
#[derive(Clone, Copy)]
pub(crate) struct Mailbox<M> {
    full: &'static dyn EventImpl,
    empty: &'static dyn EventImpl,
    room: SharedBytes,
    message: PhantomData<M>,
}

// SAFETY: events of raw_sync are made of pthreads' condition variables for processes, which any
// thread may use, and who touches the room is said by them.
unsafe impl<M> Send for Mailbox<M> {}

impl<M> Mailbox<M> {
    pub(crate) fn new() -> Self {
        Self::of_size(size_of::<M>())
    }

    /// With room for so many bytes.
    pub(crate) fn of_size(size: usize) -> Self {
        let memory: &'static mut Shmem = Box::leak(Box::new(
            ShmemConf::new().size(2 * EVENT + size).create().expect("a segment of shared_memory"),
        ));
        // Its name has done its work: peers inherit the mapping.
        forget_name(memory);
        let start = memory.as_ptr();
        // SAFETY: 256 bytes each within the segment, which stays mapped for ever and which nobody
        // uses yet.
        let event = |at: usize| unsafe { Event::new(start.add(at), true) };
        let [full, empty] = [0, EVENT].map(|at| {
            let (event, used) = event(at).expect("an event");
            assert!(used <= EVENT);
            let event: &'static dyn EventImpl = Box::leak(event);
            event
        });
        empty.set(EventState::Signaled).expect("an event");
        // SAFETY: the rest of the segment, `size` bytes.
        let room = unsafe { SharedBytes::at(start.add(2 * EVENT), size) };
        Self { full, empty, room, message: PhantomData }
    }

    pub(crate) fn put(&self, write: impl FnOnce(SharedBytes)) {
        self.empty.wait(Timeout::Infinite).expect("an event");
        write(self.room);
        self.full.set(EventState::Signaled).expect("an event");
    }

    pub(crate) fn take<R>(&self, read: impl FnOnce(SharedBytes) -> R) -> R {
        self.full.wait(Timeout::Infinite).expect("an event");
        let read = read(self.room);
        self.empty.set(EventState::Signaled).expect("an event");
        read
    }
}

fn forget_name(memory: &mut Shmem) {
    let name = std::ffi::CString::new(memory.get_os_id()).expect("no zeros in a name");
    memory.set_owner(false);
    // SAFETY: a string of C.
    assert_eq!(unsafe { libc::shm_unlink(name.as_ptr()) }, 0, "the name of a segment");
}

impl<M: Load + Pod> Channel<M> for Mailbox<M> {
    type Sender = Self;
    type Receiver = Self;

    const CROSSES: bool = true;

    fn sender(&self) -> Self {
        *self
    }

    fn receiver(&self) -> Self {
        *self
    }

    fn send(sender: &mut Self, message: M) {
        sender.put(|room| room.write(bytemuck::bytes_of(&message)));
    }

    fn receive(receiver: &mut Self) -> M {
        let mut message = M::zeroed();
        receiver.take(|room| room.read(bytemuck::bytes_of_mut(&mut message)));
        message
    }
}
