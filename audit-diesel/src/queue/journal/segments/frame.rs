//! How payloads stand in a segment, as many as fit into a frame: a mark, their length and number, a
//! checksum, and then each payload after its length. Numbers are little-endian and have four bytes.

use audit_core::Payload;

/// What a segment begins with. The number is the version of all that follows.
pub(super) const FILE_HEAD: &[u8] = b"audit-journal segment 1\n";

/// What a segment of any version begins with.
pub(super) const ANY_VERSION: &[u8] = b"audit-journal segment ";

/// The longest frame: 64 KiB. A larger push takes several.
pub(super) const LONGEST: usize = 64 << 10;

/// Not UTF-8, so that no JSON holds it.
const MARK: [u8; 4] = [0xff, b'A', b'J', 0xfe];
const HEAD: usize = 16;
const NUMBER: usize = 4;

/// What bytes begin with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    Frame {
        payloads: Vec<Payload>,
        length: usize,
    },
    /// It may be a frame, and its end is not there.
    Cut,
    Wrong,
}

/// What the payloads take in a segment. None where one of them is too long for a frame.
pub(super) fn length(payloads: &[Payload]) -> Option<u64> {
    let mut frames = cut(payloads);
    frames.try_fold(0, |length, frame| {
        let frame = HEAD + body(frame);
        (frame <= LONGEST).then_some(length + frame as u64)
    })
}

/// Cuts payloads into what a frame holds. One that is too long stands alone.
pub(super) fn cut(mut rest: &[Payload]) -> impl Iterator<Item = &[Payload]> {
    std::iter::from_fn(move || {
        let mut length = HEAD;
        let fitting = rest.iter().take_while(|payload| {
            length += NUMBER + payload.as_bytes().len();
            length <= LONGEST
        });
        let taken = fitting.count().max(1).min(rest.len());
        let (frame, left) = rest.split_at(taken);
        rest = left;
        (!frame.is_empty()).then_some(frame)
    })
}

fn body(payloads: &[Payload]) -> usize {
    let lengths = payloads.iter().map(|p| NUMBER + p.as_bytes().len());
    lengths.sum()
}

/// Appends the frame of these payloads.
pub(super) fn encode(payloads: &[Payload], bytes: &mut Vec<u8>) {
    let begin = bytes.len();
    let body = body(payloads);
    bytes.reserve(HEAD + body);
    bytes.extend(MARK);
    bytes.extend((body as u32).to_le_bytes());
    bytes.extend((payloads.len() as u32).to_le_bytes());
    bytes.extend([0; NUMBER]);
    for payload in payloads {
        bytes.extend((payload.as_bytes().len() as u32).to_le_bytes());
        bytes.extend(payload.as_bytes());
    }
    let frame = &mut bytes[begin..];
    let sum = checksum(frame);
    frame[HEAD - NUMBER..HEAD].copy_from_slice(&sum.to_le_bytes());
}

/// What the bytes begin with.
pub(super) fn decode(bytes: &[u8]) -> Found {
    let known = bytes.len().min(MARK.len());
    if bytes[..known] != MARK[..known] {
        return Found::Wrong;
    }
    let (Some(body), Some(count), Some(sum)) =
        (number(bytes, 4), number(bytes, 8), number(bytes, 12))
    else {
        return Found::Cut;
    };
    let length = HEAD + body as usize;
    if length > LONGEST {
        return Found::Wrong;
    }
    let Some(frame) = bytes.get(..length) else {
        return Found::Cut;
    };
    match (checksum(frame) == sum).then(|| payloads(&frame[HEAD..], count as usize)) {
        Some(Some(payloads)) => Found::Frame { payloads, length },
        _ => Found::Wrong,
    }
}

/// Where the next whole frame begins.
pub(super) fn find(bytes: &[u8]) -> Option<usize> {
    let places = bytes.windows(MARK.len()).enumerate();
    let mut marked = places.filter(|(_, window)| *window == MARK);
    marked
        .find(|(place, _)| matches!(decode(&bytes[*place..]), Found::Frame { .. }))
        .map(|(place, _)| place)
}

fn checksum(frame: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    sum.update(&frame[MARK.len()..HEAD - NUMBER]);
    sum.update(&frame[HEAD..]);
    sum.finalize()
}

fn payloads(mut body: &[u8], count: usize) -> Option<Vec<Payload>> {
    let mut payloads = Vec::new();
    for _ in 0..count {
        let length = number(body, 0)? as usize;
        let (payload, rest) = body[NUMBER..].split_at_checked(length)?;
        payloads.push(Payload::from(payload.to_vec()));
        body = rest;
    }
    body.is_empty().then_some(payloads)
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + NUMBER)?;
    bytes.try_into().ok().map(u32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Vec<Payload> {
        [&b"{}"[..], b"", b"\xff\x00AJ"]
            .map(|bytes| Payload::from(bytes.to_vec()))
            .to_vec()
    }

    fn encoded(payloads: &[Payload]) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(payloads, &mut bytes);
        bytes
    }

    #[test]
    fn a_frame_comes_back_as_it_was() {
        let mut bytes = encoded(&some());
        let length = bytes.len();
        bytes.extend(b"more");
        let payloads = some();
        assert_eq!(decode(&bytes), Found::Frame { payloads, length });
    }

    #[test]
    fn a_frame_that_is_cut_anywhere_is_no_frame() {
        let bytes = encoded(&some());
        for end in 0..bytes.len() {
            assert_eq!(decode(&bytes[..end]), Found::Cut, "{end}");
        }
    }

    #[test]
    fn no_bit_of_a_frame_can_change_unseen() {
        let bytes = encoded(&some());
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let found = decode(&changed);
            assert!(!matches!(found, Found::Frame { .. }), "{bit}: {found:?}");
        }
    }

    #[test]
    fn the_next_frame_is_found_behind_anything() {
        let frame = encoded(&some());
        let torn = &frame[..frame.len() - 1];
        let bytes = [b"\xff", torn, &frame].concat();
        assert_eq!(find(&bytes), Some(1 + torn.len()));
        assert_eq!(find(torn), None);
    }

    #[test]
    fn what_is_too_long_makes_no_frame() {
        let longest = LONGEST - HEAD - NUMBER;
        let of = |length| length_of(&[length]);
        assert_eq!(of(longest), Some(LONGEST as u64));
        assert_eq!(of(longest + 1), None);
        assert_eq!(length_of(&[1, longest + 1, 1]), None);
    }

    fn length_of(lengths: &[usize]) -> Option<u64> {
        length(&payloads_of(lengths))
    }

    fn payloads_of(lengths: &[usize]) -> Vec<Payload> {
        let payloads = lengths.iter().map(|length| vec![7; *length]);
        payloads.map(Payload::from).collect()
    }

    #[test]
    fn a_long_push_is_cut_into_frames_that_fit() {
        let payloads = payloads_of(&[50_000, 10_000, 5_000, 60_000, 0, 5_530, 1]);
        let mut bytes = Vec::new();
        cut(&payloads).for_each(|frame| encode(frame, &mut bytes));
        assert_eq!(length(&payloads), Some(bytes.len() as u64));
        let (mut seen, mut frames, mut at) = (Vec::new(), 0, 0);
        while at < bytes.len() {
            let found = decode(&bytes[at..]);
            assert!(matches!(found, Found::Frame { .. }), "at {at}: {found:?}");
            if let Found::Frame { payloads, length } = found {
                seen.extend(payloads);
                at += length;
            }
            frames += 1;
        }
        assert_eq!((seen, frames), (payloads, 3));
    }
}
