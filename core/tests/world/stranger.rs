//! Whoever speaks to the hub without an endpoint, and what it may say.

use edgempi_core::hub::PeerId;
use edgempi_core::request::CallCode;
use edgempi_core::wire::{Down, Hello, MAGIC, MAX_HEAD_LEN, Prefix, RankKind, Submit, SubmitFlags, Up, VERSION};
use edgempi_core::{Datatype, Fault, Payload, Rank, RequestId, Tag};

use super::World;

/// A peer without an endpoint, which may say anything.
pub struct Stranger {
    pub peer: PeerId,
    pub said: Vec<(Down, Payload)>,
}

impl Stranger {
    pub fn connect(world: &mut World) -> Self {
        Self { peer: world.hub.connect(world.now), said: Vec::new() }
    }

    /// Takes the place of a rank that has not come, and takes 64 KiB frames at any pace.
    pub fn join(world: &mut World, rank: u32) -> Self {
        let mut stranger = Self::connect(world);
        stranger.say(world, Up::Hello(hello(rank, world.hub.config().size)), b"");
        assert!(matches!(stranger.said.as_slice(), [(Down::Welcome(_), _)]), "{:?}", stranger.said);
        stranger.said.clear();
        stranger
    }

    /// Says one thing, and hears what the hub answers to everybody.
    pub fn say(&mut self, world: &mut World, frame: Up, payload: &[u8]) {
        let mut head = [0; MAX_HEAD_LEN];
        let len = frame.encode(payload.len() as u32, &mut head);
        self.say_bytes(world, &head[..len], payload);
    }

    pub fn say_bytes(&mut self, world: &mut World, head: &[u8], payload: &[u8]) {
        let (prefix, header) = head.split_first_chunk().unwrap();
        let prefix = Prefix::decode(*prefix);
        if world.hub.check_prefix(world.now, self.peer, prefix).is_ok() {
            world.hub.handle_frame(world.now, self.peer, prefix, header, Payload::from(payload));
        }
        self.listen(world);
    }

    pub fn listen(&mut self, world: &mut World) {
        world.settle();
        while let Some(said) = world.hub.poll_transmit(self.peer) {
            self.said.push(said);
        }
        world.settle();
    }

    /// Why the hub let it go, if it has.
    pub fn rejection(&self) -> Option<(Fault, String)> {
        self.said.iter().find_map(|(frame, text)| match frame {
            Down::Reject(reject) => Some((reject.fault(), String::from_utf8(text.to_vec()).unwrap())),
            _ => None,
        })
    }
}

/// What a host says, as rank `rank` of `size`.
pub fn hello(rank: u32, size: u32) -> Hello {
    Hello {
        magic: MAGIC,
        version: VERSION,
        rank: Rank::new(rank),
        size,
        kind: RankKind::Host,
        max_payload: 64 * 1024,
        max_message: u64::MAX,
        open_parts: 8,
        receive_window: u32::MAX,
        max_silence: 0,
    }
}

/// A Submit that says nothing in particular.
pub fn submit(request: u32, sequence: u32, call: CallCode) -> Submit {
    Submit {
        request: request_id(request),
        sequence,
        acknowledged: 0,
        call: call as u8,
        datatype: Datatype::U8.code(),
        op: 0,
        flags: SubmitFlags::empty(),
        communicator: 0,
        group: 0,
        name: 0,
        site: 0,
        peer: Rank::new(0),
        tag: Tag(0),
        n: 0,
        send: 0,
        receive: 0,
    }
}

/// The request with this number on the wire.
pub fn request_id(number: u32) -> RequestId {
    match Up::decode(15, &number.to_le_bytes()) {
        Ok(Some(Up::Cancel(cancel))) => cancel.request,
        _ => unreachable!("a Cancel is a request's number"),
    }
}
