//! The services of iceoryx2 between the two processes, and their ports, as small as they can be.
//!
//! Both sides make the same services, of which the first makes each and the second opens it: one
//! publisher, one subscriber, no history, as in the benchmarks of iceoryx2 itself.

use std::fs;

use iceoryx2::node::Node;
use iceoryx2::port::listener::Listener;
use iceoryx2::port::notifier::Notifier;
use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::prelude::*;
use iceoryx2::service::port_factory::{event, publish_subscribe};

use crate::Outcome;

/// Sends messages.
pub(crate) type Out<T> = Publisher<ipc::Service, T, ()>;

/// Receives messages.
pub(crate) type In<T> = Subscriber<ipc::Service, T, ()>;

/// What ports for messages are made by.
type MessageService<T> = publish_subscribe::PortFactory<ipc::Service, T, ()>;

/// Messages that fit into the buffer where each is answered before the next.
pub(crate) const SINGLE: usize = 1;

/// Messages that fit into the buffer of a stream.
pub(crate) const STREAM: usize = 1024;

/// Payloads begin at a cache line, as the fastest copies like it.
const ALIGNMENT: usize = 64;

/// Where iceoryx2 has its files, and how its shared memory is named: not with those of other users.
const ROOT: &str = "/tmp/iceoryx2-rival";
const PREFIX: &str = "iceoryx2-rival_";

/// Where Linux shows shared memory.
const SHARED_MEMORY: &str = "/dev/shm";

/// The two processes.
const NODES: usize = 2;

/// Finds the services of one run.
pub(crate) struct Services {
    node: Node<ipc::Service>,
    run: u32,
}

impl Services {
    /// Those of the run of the process with this id.
    pub(crate) fn new(run: u32) -> Outcome<Self> {
        // Neither a file of configuration nor a handler of signals changes what is measured.
        let mut config = Config::default();
        config.global.prefix = FileName::new(PREFIX.as_bytes())?;
        config.global.set_root_path(&Path::new(ROOT.as_bytes())?);
        let node = NodeBuilder::new()
            .config(&config)
            .signal_handling_mode(SignalHandlingMode::Disabled)
            .create()?;
        Ok(Self { node, run })
    }

    /// An end that sends numbers, and waits while so many of a stream are on their way.
    pub(crate) fn numbers_out(&self, name: &str, capacity: usize) -> Outcome<Out<u64>> {
        let service = self.numbers(name, capacity)?;
        let publisher = service.publisher_builder().max_loaned_samples(1);
        let strategy = BackpressureStrategy::RetryUntilDelivered;
        Ok(publisher.backpressure_strategy(strategy).create()?)
    }

    /// An end that receives numbers.
    pub(crate) fn numbers_in(&self, name: &str, capacity: usize) -> Outcome<In<u64>> {
        Ok(self.numbers(name, capacity)?.subscriber_builder().create()?)
    }

    fn numbers(&self, name: &str, capacity: usize) -> Outcome<MessageService<u64>> {
        let service = self.node.service_builder(&self.name(name)?).publish_subscribe::<u64>();
        Ok(service
            .max_nodes(NODES)
            .max_publishers(1)
            .max_subscribers(1)
            .history_size(0)
            .subscriber_max_buffer_size(capacity)
            .subscriber_max_borrowed_samples(1)
            // One that was answered is not lost when the next one comes.
            .enable_safe_overflow(capacity == SINGLE)
            .open_or_create()?)
    }

    /// An end that sends messages of up to `size` bytes.
    pub(crate) fn bytes_out(&self, name: &str, size: usize) -> Outcome<Out<[u8]>> {
        let service = self.bytes(name)?;
        let publisher = service.publisher_builder().max_loaned_samples(1);
        Ok(publisher.initial_max_slice_len(size).create()?)
    }

    /// An end that receives messages of bytes.
    pub(crate) fn bytes_in(&self, name: &str) -> Outcome<In<[u8]>> {
        Ok(self.bytes(name)?.subscriber_builder().create()?)
    }

    fn bytes(&self, name: &str) -> Outcome<MessageService<[u8]>> {
        let service = self.node.service_builder(&self.name(name)?).publish_subscribe::<[u8]>();
        Ok(service
            .payload_alignment(Alignment::new(ALIGNMENT).ok_or("no power of two")?)
            .max_nodes(NODES)
            .max_publishers(1)
            .max_subscribers(1)
            .history_size(0)
            .subscriber_max_buffer_size(SINGLE)
            .subscriber_max_borrowed_samples(1)
            .enable_safe_overflow(true)
            .open_or_create()?)
    }

    /// An end that wakes the peer.
    pub(crate) fn event_out(&self, name: &str) -> Outcome<Notifier<ipc::Service>> {
        Ok(self.event(name)?.notifier_builder().create()?)
    }

    /// An end that sleeps until the peer wakes it.
    pub(crate) fn event_in(&self, name: &str) -> Outcome<Listener<ipc::Service>> {
        Ok(self.event(name)?.listener_builder().create()?)
    }

    fn event(&self, name: &str) -> Outcome<event::PortFactory<ipc::Service>> {
        let service = self.node.service_builder(&self.name(name)?).event();
        Ok(service
            .max_nodes(NODES)
            .max_notifiers(1)
            .max_listeners(1)
            .event_id_max_value(0)
            .open_or_create()?)
    }

    fn name(&self, name: &str) -> Outcome<ServiceName> {
        Ok(ServiceName::new(&format!("iceoryx2-rival/{}/{name}", self.run))?)
    }
}

/// Removes what iceoryx2 keeps when all nodes are gone: empty folders, and a segment for all nodes.
///
/// Does nothing while there are files of a node, alive or killed. The next node that is made, by
/// whatever run, removes those of the killed.
pub(crate) fn tidy() {
    let folders = [format!("{ROOT}/nodes"), format!("{ROOT}/services"), ROOT.to_owned()];
    if folders.iter().any(|folder| fs::remove_dir(folder).is_err()) {
        return;
    }
    for entry in fs::read_dir(SHARED_MEMORY).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(PREFIX) {
            // Fails only if it is gone already.
            let _ = fs::remove_file(entry.path());
        }
    }
}
