//! Queues that programs find by a name.
//!
//! The name has a handle with both ends, as long as it is there: so nobody hears that all others
//! have gone, as somebody may come.

use crate::error::Result;
use crate::raw::wait::Fence;
use crate::segment::{self, Name, Site, ToName};
use crate::transfer::codec::{Codec, Serde, layout};

use super::builder::QueueBuilder;
use super::core::Core;
use super::ends::{End, ends_of};
use super::port::Port;
use super::queue::Queue;

impl<T> Queue<T>
where
    Serde: Codec<T>,
{
    /// Makes a queue for `capacity` messages, or one that grows if that is `None`, which other
    /// programs find by its name. See [`Name`] for how long it stays.
    ///
    /// While it has its name nobody hears `Disconnected`, unless it is [closed](Self::close):
    /// somebody else may come. Messages wait, also while no process has the queue.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Name, Queue, Receiver};
    ///
    /// let name = Name::new(&format!("jobs-{}", std::process::id()))?;
    /// let mut jobs: Queue<String> = Queue::create(&name, 100)?;
    /// jobs.send("sweep".to_owned())?;
    /// drop(jobs);
    /// // In another program:
    /// let mut jobs: Receiver<String> = Queue::open(&name)?;
    /// assert_eq!(jobs.recv()?, "sweep");
    /// name.unlink()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Exists`](crate::ErrorKind::Exists) if something has the name; and as
    /// [`bounded`](Self::bounded).
    pub fn create(name: impl ToName, capacity: impl Into<Option<usize>>) -> Result<Self> {
        Queue::builder().create(name, capacity)
    }

    /// Opens a queue of this name, or makes it if nothing has the name: of several programs that do
    /// so at once, all have the same one. One that is there is as it was made.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Name, Queue};
    ///
    /// let name = Name::new(&format!("queue-either-{}", std::process::id()))?;
    /// let mut one: Queue<String> = Queue::open_or_create(&name, 100)?;
    /// // In another program, which may as well be the first:
    /// let mut other: Queue<String> = Queue::open_or_create(&name, 100)?;
    /// one.send("hello".to_owned())?;
    /// assert_eq!(other.recv()?, "hello");
    /// name.unlink()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`open`](Self::open) and [`create`](Self::create).
    pub fn open_or_create(name: impl ToName, capacity: impl Into<Option<usize>>) -> Result<Self> {
        Queue::builder().open_or_create(name, capacity)
    }
}

impl<T, C: Codec<T>, E: End> Queue<T, C, E> {
    /// Opens a queue that some program has made under this name: both ends, or one of them, as the
    /// type of the handle says.
    ///
    /// # Examples
    /// ```
    /// use multiproc::{ErrorKind, Name, Queue, Sender};
    ///
    /// let name = Name::new(&format!("queue-open-{}", std::process::id()))?;
    /// assert_eq!(Queue::<u64>::open(&name).unwrap_err().kind(), ErrorKind::NotFound);
    /// let mut numbers: Queue<u64> = Queue::create(&name, 100)?;
    /// let mut sender: Sender<u64> = Queue::open(&name)?;
    /// sender.send(7)?;
    /// assert_eq!(numbers.recv()?, 7);
    /// // They are no strings.
    /// assert_eq!(Queue::<String>::open(&name).unwrap_err().kind(), ErrorKind::Mismatch);
    /// name.unlink()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`NotFound`](crate::ErrorKind::NotFound) if nothing has the name,
    /// [`Mismatch`](crate::ErrorKind::Mismatch) if something else has it or its messages are other
    /// ones, [`Corrupt`](crate::ErrorKind::Corrupt) if it is damaged,
    /// [`Limit`](crate::ErrorKind::Limit) if all its handles are taken.
    pub fn open(name: impl ToName) -> Result<Self> {
        open_as(&name.to_name()?, Fence::best())
    }
}

impl<C> QueueBuilder<C> {
    /// Makes a queue that other programs find by its name. See [`Queue::create`].
    ///
    /// # Examples
    /// ```
    /// use multiproc::{Name, Plain, Queue};
    ///
    /// let name = Name::new(&format!("queue-built-{}", std::process::id()))?;
    /// let builder = Queue::builder().codec::<Plain>().joinable(true);
    /// let mut numbers: Queue<u64, Plain> = builder.create(&name, 100)?;
    /// numbers.send(7)?;
    /// assert_eq!(Queue::<u64, Plain>::open(&name)?.recv()?, 7);
    /// name.unlink()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Queue::create`].
    pub fn create<T>(
        self,
        name: impl ToName,
        capacity: impl Into<Option<usize>>,
    ) -> Result<Queue<T, C>>
    where
        C: Codec<T>,
    {
        self.create_as(&name.to_name()?, capacity.into())
    }

    /// Opens a queue of this name, or makes it if nothing has the name. See
    /// [`Queue::open_or_create`].
    ///
    /// # Examples
    /// A queue that is there is as it was made:
    /// ```
    /// use multiproc::{Name, Queue};
    ///
    /// let name = Name::new(&format!("queue-either-built-{}", std::process::id()))?;
    /// let _first: Queue<u64> = Queue::builder().handles(8).open_or_create(&name, 100)?;
    /// let second: Queue<u64> = Queue::builder().open_or_create(&name, 200)?;
    /// assert_eq!(second.capacity(), Some(100));
    /// name.unlink()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Queue::open_or_create`].
    pub fn open_or_create<T>(
        self,
        name: impl ToName,
        capacity: impl Into<Option<usize>>,
    ) -> Result<Queue<T, C>>
    where
        C: Codec<T>,
    {
        let (name, capacity) = (name.to_name()?, capacity.into());
        let open = || open_as(&name, self.fence());
        segment::open_or_make(&name, open, || self.create_as(&name, capacity))
    }

    fn create_as<T>(&self, name: &Name, capacity: Option<usize>) -> Result<Queue<T, C>>
    where
        C: Codec<T>,
    {
        let plan = self.any_plan::<T>(capacity, true)?;
        let label = label::<T, C>(name);
        let site = Site::Named { name, label: &label };
        let core = Core::make(&site, plan, ends_of::<super::Both>(), self.fence())?;
        Ok(Queue::new(Port::new(core)?))
    }
}

fn open_as<T, C: Codec<T>, E: End>(name: &Name, how: Fence) -> Result<Queue<T, C, E>> {
    let shared = segment::open(name, &label::<T, C>(name))?;
    Ok(Queue::new(Port::new(Core::attach(shared, ends_of::<E>(), how)?)?))
}

fn label<T, C: Codec<T>>(name: &Name) -> String {
    name.label(&format!("Queue{}", layout::<T, C>()), C::identity)
}
