//! Target `frames`: what is read is what was written.

use edgempi_core::wire::{Down, Hello, MAX_HEAD_LEN, PREFIX_LEN, Prefix, Up};

/// The next frame of a stream: its prefix, header and payload, as far as the stream goes.
pub fn next_frame<'a>(rest: &mut &'a [u8]) -> Option<(Prefix, &'a [u8], &'a [u8])> {
    let (prefix, behind) = rest.split_first_chunk::<PREFIX_LEN>()?;
    let prefix = Prefix::decode(*prefix);
    let (header, behind) = behind.split_at(behind.len().min(prefix.header_len.into()));
    let (payload, behind) = behind.split_at(behind.len().min(prefix.payload_len as usize));
    *rest = behind;
    Some((prefix, header, payload))
}

/// Reads each frame as if it came from a rank and as if it came from the hub.
pub fn fuzz_frames(mut data: &[u8]) {
    while let Some((prefix, header, _)) = next_frame(&mut data) {
        let _ = Hello::version(header);
        let mut head = [0; MAX_HEAD_LEN];
        if let Ok(Some(frame)) = Up::decode(prefix.kind, header) {
            let len = frame.encode(prefix.payload_len, &mut head);
            let (kind, header) = reread(prefix, &head[..len]);
            assert_eq!(Up::decode(kind, header), Ok(Some(frame)));
        }
        if let Ok(Some(frame)) = Down::decode(prefix.kind, header) {
            let len = frame.encode(prefix.payload_len, &mut head);
            let (kind, header) = reread(prefix, &head[..len]);
            assert_eq!(Down::decode(kind, header), Ok(Some(frame)));
        }
    }
}

fn reread(read: Prefix, mut head: &[u8]) -> (u8, &[u8]) {
    let len = head.len();
    let (written, header, _) = next_frame(&mut head).expect("a prefix was written");
    assert_eq!((written.kind, written.payload_len), (read.kind, read.payload_len));
    assert_eq!(usize::from(written.header_len) + PREFIX_LEN, len);
    (written.kind, header)
}
