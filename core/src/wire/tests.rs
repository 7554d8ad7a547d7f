//! The bytes of every frame, pinned; and what decoding makes of bytes that are no frame.

use std::format;
use std::string::String;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::error::Category;
use crate::rank::{Rank, Tag};
use crate::request::RequestId;

const REQUEST: RequestId = RequestId::new(5, 2);

type Golden<F> = Vec<(&'static str, u32, F, &'static str)>;

fn ups() -> Golden<Up> {
    std::vec![
        (
            "hello",
            5,
            Up::Hello(Hello {
                magic: MAGIC,
                version: 1,
                rank: Rank::new(3),
                size: 4,
                kind: RankKind::Board,
                max_payload: 1024,
                max_message: 0x1_0000_0001,
                open_parts: 1,
                receive_window: 512,
                max_silence: 30_000
            }),
            "012505000000454d5049010003000000040000000100040000010000000100000001000002000030750000"
        ),
        ("inquire", 3, Up::Inquire(Inquire { magic: MAGIC, version: 1 }), "040603000000454d50490100"),
        ("name_group", 16, Up::Name(Name { kind: NameKind::Group, id: 7 }), "080310000000010700"),
        ("name_operation", 9, Up::Name(Name { kind: NameKind::Operation, id: 8 }), "080309000000020800"),
        ("name_site", 12, Up::Name(Name { kind: NameKind::Site, id: 9 }), "08030c000000030900"),
        (
            "submit",
            700,
            Up::Submit(Submit {
                request: REQUEST,
                sequence: 10,
                acknowledged: 9,
                call: 23,
                datatype: 18,
                op: 0x21,
                flags: SubmitFlags::EXACT.with(SubmitFlags::EAGER),
                communicator: 0x0102_0304_0506_0708,
                group: 1,
                name: 2,
                site: 3,
                peer: Rank::new(4),
                tag: Tag(5),
                n: 6,
                send: 700,
                receive: 800
            }),
            "093abc020000050002000a000000090000001712210a0807060504030201010002000300040000000500000006000000bc020000000000002003000000000000"
        ),
        (
            "data",
            64,
            Up::Data(Data { request: REQUEST, part: 6, offset: 0x2_0000_0003 }),
            "0b104000000005000200060000000300000002000000"
        ),
        (
            "credit",
            0,
            Up::Credit(Credit { request: REQUEST, part: 6, limit: 4096, len: 8192 }),
            "0c1800000000050002000600000000100000000000000020000000000000"
        ),
        ("cancel", 0, Up::Cancel(Cancel { request: REQUEST }), "0f040000000005000200"),
        ("blocked", 0, Up::Blocked(Blocked { request: REQUEST }), "81040000000005000200"),
        ("withdraw", 0, Up::Withdraw(Withdraw { request: REQUEST }), "10040000000005000200"),
        ("ping", 0, Up::Ping(Ping { acknowledged: 77 }), "1404000000004d000000"),
        ("pong", 0, Up::Pong(Ping { acknowledged: 78 }), "1504000000004e000000"),
        ("goodbye", 0, Up::Goodbye(Goodbye { reason: GoodbyeReason::Dropped }), "1e010000000001"),
    ]
}

fn downs() -> Golden<Down> {
    std::vec![
        (
            "welcome",
            0,
            Down::Welcome(Welcome {
                version: 1,
                session: 0x0f0e_0d0c_0b0a_0908_0706_0504_0302_0100,
                incarnation: 2,
                max_payload: 262_144,
                max_message: 1 << 32,
                max_requests: 32_768,
                queue_size: 4 << 20,
                max_silence: 20_000
            }),
            "0236000000000100000102030405060708090a0b0c0d0e0f0200000000000000000004000000000001000000008000000000400000000000204e0000"
        ),
        (
            "reject",
            20,
            Down::Reject(Reject { category: Category::WrongWorld, len: 8, max: 4 }),
            "031214000000520008000000000000000400000000000000"
        ),
        (
            "snapshot",
            9,
            Down::Snapshot(SnapshotPiece { version: 1, offset: 16, len: 25 }),
            "050a0900000001001000000019000000"
        ),
        (
            "part",
            0,
            Down::Part(Part { request: REQUEST, part: 6, len: 99 }),
            "0a100000000005000200060000006300000000000000"
        ),
        (
            "data",
            64,
            Down::Data(Data { request: REQUEST, part: 6, offset: 0x2_0000_0003 }),
            "0b104000000005000200060000000300000002000000"
        ),
        (
            "credit",
            0,
            Down::Credit(Credit { request: RequestId::NONE, part: 0, limit: 4096, len: 0 }),
            "0c1800000000000000000000000000100000000000000000000000000000"
        ),
        (
            "complete",
            432,
            Down::Complete(Complete {
                request: REQUEST,
                sequence: 11,
                acknowledged: 10,
                layout: Layout::Varied,
                source: Rank::new(2),
                tag: Tag(3),
                bytes: 400,
                queue_limit: 5000
            }),
            "0d25b0010000050002000b0000000a00000003020000000300000090010000000000008813000000000000"
        ),
        (
            "fail",
            30,
            Down::Fail(Fail {
                request: REQUEST,
                sequence: 11,
                acknowledged: 10,
                category: Category::RankFailed,
                rank: Rank::new(2),
                count: 3,
                len: 4,
                max: 5,
                queue_limit: 5000
            }),
            "0e2e1e000000050002000b0000000a00000014000200000003000000040000000000000005000000000000008813000000000000"
        ),
        (
            // Nine bytes of text, then the error of the user's code.
            "fail with an error",
            12,
            Down::Fail(Fail {
                request: REQUEST,
                sequence: 11,
                acknowledged: 10,
                category: Category::Remote,
                rank: Rank::new(0),
                count: 0,
                len: 9,
                max: 0,
                queue_limit: 5000
            }),
            "0e2e0c000000050002000b0000000a00000046000000000000000000090000000000000000000000000000008813000000000000"
        ),
        ("ping", 0, Down::Ping(Ping { acknowledged: 77 }), "1404000000004d000000"),
        ("pong", 0, Down::Pong(Ping { acknowledged: 78 }), "1504000000004e000000"),
        ("goodbye", 3, Down::Goodbye(Goodbye { reason: GoodbyeReason::Shutdown }), "1e010300000002"),
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    hex.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// One test for both directions: `$frame` is `Up` or `Down`.
macro_rules! pinned {
    ($module:ident, $frame:ident, $golden:ident) => {
        mod $module {
            use super::*;

            #[test]
            fn every_frame_has_its_bytes() {
                for (name, payload, frame, golden) in $golden() {
                    let mut head = [0; MAX_HEAD_LEN];
                    let len = frame.encode(payload, &mut head);
                    assert_eq!(hex(&head[..len]), golden, "{name}");
                }
            }

            #[test]
            fn every_frame_is_read_back() {
                for (name, payload, frame, golden) in $golden() {
                    let head = bytes(golden);
                    let (prefix, header) = head.split_first_chunk().unwrap();
                    let prefix = Prefix::decode(*prefix);
                    assert_eq!((prefix.header_len as usize, prefix.payload_len), (header.len(), payload), "{name}");
                    assert_eq!($frame::decode(prefix.kind, header), Ok(Some(frame)), "{name}");
                    assert_eq!(prefix.kind, frame.kind(), "{name}");
                }
            }

            #[test]
            fn a_short_header_is_refused_whatever_is_missing() {
                for (name, _, frame, golden) in $golden() {
                    let header = &bytes(golden)[PREFIX_LEN..];
                    for len in 0..header.len() {
                        let error = DecodeError::Short { kind: frame.kind(), len };
                        assert_eq!($frame::decode(frame.kind(), &header[..len]), Err(error), "{name}, {len} bytes");
                    }
                }
            }

            #[test]
            fn what_a_later_version_puts_behind_a_header_is_ignored() {
                for (name, _, frame, golden) in $golden() {
                    let mut header = bytes(golden)[PREFIX_LEN..].to_vec();
                    header.resize(255, 0xab);
                    assert_eq!($frame::decode(frame.kind(), &header), Ok(Some(frame)), "{name}");
                }
            }

            #[test]
            fn headers_fit_their_room() {
                for (name, _, _, golden) in $golden() {
                    assert!(bytes(golden).len() <= MAX_HEAD_LEN, "{name}");
                }
            }

            #[test]
            fn unknown_kinds_are_errors_unless_they_may_be_skipped() {
                let known: Vec<u8> = $golden().iter().map(|(_, _, frame, _)| frame.kind()).collect();
                for kind in 0..=255 {
                    let read = $frame::decode(kind, &[]);
                    match kind {
                        kind if known.contains(&kind) => assert!(read.is_err()),
                        OPTIONAL.. => assert_eq!(read, Ok(None)),
                        kind => assert_eq!(read, Err(DecodeError::Kind(kind))),
                    }
                }
            }

            proptest! {
                #[test]
                fn arbitrary_headers_never_panic_and_are_written_as_read(
                    kind: u8,
                    header in prop::collection::vec(any::<u8>(), 0..256),
                    payload: u32,
                ) {
                    if let Ok(Some(frame)) = $frame::decode(kind, &header) {
                        let mut head = [0; MAX_HEAD_LEN];
                        let len = frame.encode(payload, &mut head);
                        let prefix = Prefix::decode(head[..PREFIX_LEN].try_into().unwrap());
                        prop_assert_eq!(prefix, Prefix { kind, header_len: (len - PREFIX_LEN) as u8, payload_len: payload });
                        prop_assert_eq!($frame::decode(kind, &head[PREFIX_LEN..len]), Ok(Some(frame)));
                    }
                }

                #[test]
                fn fields_survive_whatever_they_hold(
                    index in 0..$golden().len(),
                    noise in prop::collection::vec(any::<u8>(), MAX_HEADER_LEN),
                ) {
                    let kind = $golden()[index].2.kind();
                    match $frame::decode(kind, &noise) {
                        Ok(Some(frame)) => {
                            let mut head = [0; MAX_HEAD_LEN];
                            let len = frame.encode(0, &mut head);
                            prop_assert_eq!($frame::decode(kind, &head[PREFIX_LEN..len]), Ok(Some(frame)));
                        }
                        other => prop_assert_eq!(other, Err(DecodeError::Value(kind))),
                    }
                }
            }
        }
    };
}
pinned!(up, Up, ups);
pinned!(down, Down, downs);

#[test]
fn values_that_mean_nothing_are_refused() {
    assert_eq!(Up::decode(8, &[4, 1, 0]), Err(DecodeError::Value(8)));
    let mut hello = bytes(ups()[0].3)[PREFIX_LEN..].to_vec();
    hello[14] = 9;
    assert_eq!(Up::decode(1, &hello), Err(DecodeError::Value(1)));
}

#[test]
fn categories_and_reasons_of_a_later_version_are_still_failures() {
    let reject = Down::decode(3, &[0xff; 18]).unwrap().unwrap();
    assert!(matches!(reject, Down::Reject(reject) if reject.category == Category::Protocol));
    let goodbye = Up::decode(30, &[200]).unwrap().unwrap();
    assert_eq!(goodbye, Up::Goodbye(Goodbye { reason: GoodbyeReason::Shutdown }));
}

#[test]
fn the_magic_spells_empi() {
    assert_eq!(MAGIC.to_le_bytes(), *b"EMPI");
}
