//! A flag between processes.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::Result;
use crate::raw;
use crate::raw::wait::Waited;
use crate::raw::wait_many::{Post, Watched};
use crate::segment::Site;
use crate::sys::clock::Deadline;
use crate::transfer::identity::fingerprint;

use super::named::named_verbs;
use super::object::Object;

/// A flag that processes and their threads set, clear and wait for.
///
/// A handle is `Send`, `Sync` and `Clone`; all handles, here and in processes that one was sent to,
/// are of the same event. What was done before a [`set`](Self::set) is seen after the wait that it
/// ends.
///
/// **No set is lost.** A set ends every wait that began before it, also where the flag is cleared
/// at once and the waiting thread gets to run only then. Python's events forget such a set.
///
/// **When somebody dies** nothing is left behind: nobody owns an event. Who waits for an event that
/// only the dead would have set, waits on; to hear of a death, wait for the
/// [`Process`](crate::Process), or use a [`Pipe`](crate::Pipe).
///
/// # Examples
/// ```
/// use multiproc::{Event, Process};
///
/// fn serve((ready, stop): (Event, Event)) -> multiproc::Result<()> {
///     ready.set()?;
///     stop.wait()
/// }
///
/// let (ready, stop) = (Event::new()?, Event::new()?);
/// let child = Process::spawn(serve, (ready.clone(), stop.clone()))?;
/// ready.wait()?;
/// // The server is up; somebody may talk to it here.
/// stop.set()?;
/// child.join().unwrap()?;
/// # Ok::<(), multiproc::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Event {
    object: Object<raw::event::Event>,
}

named_verbs!(Event, "an event");

impl Event {
    /// Makes an event, which is not set. It takes 128 bytes of shared memory.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Event;
    ///
    /// assert!(!Event::new()?.is_set());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// If there is no shared memory left, or no file descriptor for it.
    pub fn new() -> Result<Self> {
        Self::make_at(&Site::Anywhere)
    }

    fn make_at(site: &Site<'_>) -> Result<Self> {
        Ok(Self { object: Object::make(site, Self::fingerprint(), |_| ())? })
    }

    fn fingerprint() -> u64 {
        fingerprint::<Self, ()>()
    }

    #[cfg(test)]
    pub(super) fn object(&self) -> &Object<raw::event::Event> {
        &self.object
    }

    /// Sets the flag, and ends every wait. The flag stays set until somebody clears it.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Event, Process};
    ///
    /// fn wait(event: Event) -> multiproc::Result<()> {
    ///     event.wait()
    /// }
    ///
    /// let event = Event::new()?;
    /// let children = [(); 3].map(|()| Process::spawn(wait, event.clone()));
    /// event.set()?;
    /// for child in children {
    ///     child?.join().unwrap()?;
    /// }
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// In a child that was forked without [`Process::fork`](crate::Process::fork).
    pub fn set(&self) -> Result<()> {
        self.object.me()?;
        self.object.machine().set();
        Ok(())
    }

    /// Clears the flag. Waits that a set has ended end, all the same.
    ///
    /// # Examples
    /// ```
    /// use multiproc::Event;
    ///
    /// let event = Event::new()?;
    /// event.set()?;
    /// event.clear()?;
    /// assert!(!event.is_set());
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn clear(&self) -> Result<()> {
        self.object.me()?;
        self.object.machine().clear();
        Ok(())
    }

    /// Whether the flag is set, as of a moment ago.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Event, Process};
    ///
    /// fn work(stop: Event) {
    ///     while !stop.is_set() {
    ///         // One more step.
    ///     }
    /// }
    ///
    /// let stop = Event::new()?;
    /// let worker = Process::spawn(work, stop.clone())?;
    /// stop.set()?;
    /// worker.join().unwrap();
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.object.machine().is_set()
    }

    /// Waits until the flag is set, or was set since the call began.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Event, Process};
    ///
    /// fn prepare(ready: Event) -> multiproc::Result<()> {
    ///     // Whatever takes its time.
    ///     ready.set()
    /// }
    ///
    /// let ready = Event::new()?;
    /// let child = Process::spawn(prepare, ready.clone())?;
    /// ready.wait()?;
    /// // It stays set: this does not wait.
    /// ready.wait()?;
    /// child.join().unwrap()?;
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn wait(&self) -> Result<()> {
        let _: Waited = self.wait_until(Deadline::NEVER)?;
        Ok(())
    }

    /// Waits until the flag is set, or was set since the call began, for so long at the most. True
    /// if it was, false if the time was up.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// use multiproc::Event;
    ///
    /// let event = Event::new()?;
    /// assert!(!event.wait_timeout(Duration::from_millis(1))?);
    /// event.set()?;
    /// assert!(event.wait_timeout(Duration::from_millis(1))?);
    /// # Ok::<(), multiproc::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn wait_timeout(&self, timeout: Duration) -> Result<bool> {
        Ok(self.wait_until(Deadline::after(timeout))? == Waited::Ready)
    }

    /// The event, for one who waits for it from now on.
    pub(crate) fn watched(&mut self) -> Result<EventWatch<'_>> {
        let began = self.object.machine().now();
        self.object.me()?;
        Ok(EventWatch { event: self, began })
    }

    fn wait_until(&self, deadline: Deadline) -> Result<Waited> {
        let event = self.object.machine();
        let began = event.now();
        self.object.me()?;
        // Nobody is suspected: what the dead have done to an event is in its word.
        Ok(event.wait(began, self.object.segment().terms(deadline), || ()))
    }
}

/// An event that is waited for among other things, since some moment.
pub(crate) struct EventWatch<'a> {
    event: &'a Event,
    began: raw::event::Moment,
}

impl Watched for EventWatch<'_> {
    fn post(&self) -> Post<'_> {
        let object = &self.event.object;
        object.machine().post(Some(object.segment().death_epoch()))
    }

    fn is_ready(&mut self) -> bool {
        self.event.object.machine().now().is_set_since(self.began)
    }

    fn suspect(&mut self) {
        // Nobody is suspected: what the dead have done to an event is in its word.
    }
}

impl fmt::Debug for Event {
    /// What it looks like at this moment.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event").field("is_set", &self.is_set()).finish()
    }
}

impl Serialize for Event {
    /// Puts a handle of the event into the parcel that is being packed.
    ///
    /// # Errors
    /// Outside the arguments and results of processes and the messages of connections.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.object.pack(serializer)
    }
}

impl<'de> Deserialize<'de> for Event {
    /// Takes the handle out of the parcel that is being unpacked.
    ///
    /// # Errors
    /// Outside the arguments and results of processes and the messages of connections.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self { object: Object::unpack(deserializer, Self::fingerprint())? })
    }
}
