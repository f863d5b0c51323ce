use std::time::Duration;

use proptest::prelude::{any, prop};
use proptest::{prop_assert_eq, proptest};

use super::{FRAMES, Flood, Frame, Frames, Meter, PREFACE, RESETS};

fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags, 0, 0, 0, 1];
    bytes.extend_from_slice(payload);
    bytes
}

fn seen(frames: &mut Frames, bytes: &[u8]) -> Vec<Frame> {
    let mut all = Vec::new();
    frames.advance(bytes, |frame| all.push(frame));
    all
}

/// A meter behind the preface.
fn meter() -> Meter {
    let mut meter = Meter::default();
    assert_eq!(meter.received(PREFACE, Duration::ZERO), None);
    meter
}

/// How many of these rounds a client may send at once.
fn rounds(round: &[u8], most: usize) -> Option<(usize, Flood)> {
    let mut meter = meter();
    (1..=most).find_map(|count| meter.received(round, Duration::ZERO).map(|flood| (count, flood)))
}

const HEADERS: u8 = 1;
const RESET: u8 = 3;

#[test]
fn heads_are_found_behind_the_preface_and_payloads_are_passed_over() {
    let mut bytes = PREFACE.to_vec();
    bytes.extend(frame(0, 1, &[0; 300]));
    bytes.extend(frame(RESET, 0, &[0, 0, 0, 8]));
    bytes.extend(frame(6, 0, &[0; 8]));
    let expected = [
        Frame { kind: 0, flags: 1, length: 300, code: 0 },
        Frame { kind: RESET, flags: 0, length: 4, code: 8 },
        Frame { kind: 6, flags: 0, length: 8, code: 0 },
    ];
    assert_eq!(seen(&mut Frames::behind(PREFACE.len()), &bytes), expected);
}

#[test]
fn a_reset_of_the_wrong_size_does_not_make_the_meter_lose_its_place() {
    for size in [0, 1, 3, 5, 300] {
        let mut bytes = frame(RESET, 0, &vec![9; size]);
        bytes.extend(frame(6, 7, &[0; 8]));
        let seen = seen(&mut Frames::default(), &bytes);
        assert_eq!(seen.len(), 2, "{size}: {seen:?}");
        assert_eq!((seen[1].kind, seen[1].flags), (6, 7), "{size}");
    }
}

#[test]
fn every_kind_of_idle_frame_has_an_end() {
    let kinds: [(&str, u8, u8, &[u8]); 8] = [
        ("empty data", 0, 0, &[]),
        ("priority", 2, 0, &[0; 5]),
        ("settings", 4, 0, &[]),
        ("settings, acknowledged", 4, 1, &[]),
        ("ping", 6, 0, &[0; 8]),
        ("window update", 8, 0, &[0, 0, 0, 1]),
        ("continuation", 9, 0, &[]),
        ("unknown", 0xfa, 0, &[1, 2, 3]),
    ];
    for (what, kind, flags, payload) in kinds {
        let most = FRAMES.most as usize + 1;
        let (count, flood) = rounds(&frame(kind, flags, payload), most).unwrap_or_else(|| panic!("{what}: no end"));
        assert_eq!(flood, Flood::Frames, "{what}");
        assert!(count > 100, "{what}: after {count}");
    }
}

#[test]
fn requests_that_are_all_reset_come_to_an_end() {
    let mut round = frame(HEADERS, 5, b"request");
    round.extend(frame(RESET, 0, &[0, 0, 0, 8]));
    let (count, flood) = rounds(&round, 1000).unwrap();
    assert_eq!(flood, Flood::Resets);
    assert!((100..300).contains(&count), "after {count}");
}

#[test]
fn a_client_that_resets_every_second_request_may_go_on() {
    let mut round = frame(HEADERS, 5, b"one");
    round.extend(frame(HEADERS, 5, b"two"));
    round.extend(frame(RESET, 0, &[0, 0, 0, 8]));
    assert_eq!(rounds(&round, 10_000), None);
}

#[test]
fn a_page_that_is_left_with_all_its_requests_under_way_is_no_flood() {
    let mut meter = meter();
    for _ in 0..100 {
        assert_eq!(meter.received(&frame(HEADERS, 5, b"image"), Duration::ZERO), None);
    }
    for _ in 0..100 {
        assert_eq!(meter.received(&frame(RESET, 0, &[0, 0, 0, 8]), Duration::ZERO), None);
    }
}

#[test]
fn resets_that_the_client_makes_us_send_cost_it_as_much_as_its_own() {
    let mut meter = meter();
    let provoked = (1..=1000).find(|_| {
        let _ = meter.received(&frame(HEADERS, 4, b"request"), Duration::ZERO);
        meter.sent(&frame(RESET, 0, &[0, 0, 0, 1])) == Some(Flood::Resets)
    });
    assert!(provoked.is_some_and(|count| count > 100), "{provoked:?}");
}

#[test]
fn resets_that_are_our_own_idea_cost_the_client_nothing() {
    let mut meter = meter();
    for code in [0, 2, 7, 8] {
        for _ in 0..10 * RESETS.most {
            assert_eq!(meter.sent(&frame(RESET, 0, &[0, 0, 0, code])), None);
        }
    }
}

#[test]
fn data_costs_nothing_in_either_direction() {
    assert_eq!(rounds(&frame(0, 0, b"x"), 100_000), None);
    assert_eq!(rounds(&frame(0, 1, b""), 100_000), None);
}

#[test]
fn a_download_may_be_acknowledged_frame_by_frame() {
    let mut meter = meter();
    for _ in 0..100_000 {
        assert_eq!(meter.sent(&frame(0, 0, &[0; 64])), None);
        for _ in 0..2 {
            assert_eq!(meter.received(&frame(8, 0, &[0, 0, 0, 64]), Duration::ZERO), None);
        }
    }
}

#[test]
fn a_window_that_is_opened_byte_by_byte_comes_to_an_end() {
    let mut meter = meter();
    let dribble = (0..100_000).find(|_| {
        meter.sent(&frame(0, 0, b"x"));
        meter.received(&frame(8, 0, &[0, 0, 0, 1]), Duration::ZERO).is_some()
    });
    assert!(dribble.is_some());
}

#[test]
fn time_pays_for_a_client_that_only_keeps_in_touch() {
    let mut meter = meter();
    for second in 0..10_000 {
        for _ in 0..20 {
            assert_eq!(meter.received(&frame(6, 0, &[0; 8]), Duration::from_secs(second)), None);
        }
    }
}

#[test]
fn a_clock_that_stands_or_goes_back_gives_nothing_and_breaks_nothing() {
    let mut meter = meter();
    meter.received(&frame(6, 0, &[0; 8]), Duration::from_secs(u64::MAX));
    meter.received(&frame(6, 0, &[0; 8]), Duration::ZERO);
    assert!((0..=FRAMES.most).any(|_| meter.received(&frame(6, 0, &[0; 8]), Duration::ZERO).is_some()));
}

proptest! {
    #[test]
    fn what_is_counted_does_not_depend_on_how_the_bytes_are_cut(
        frames in prop::collection::vec((any::<u8>(), any::<u8>(), prop::collection::vec(any::<u8>(), 0..40)), 0..20),
        cuts in prop::collection::vec(1usize..30, 1..20),
    ) {
        let bytes: Vec<u8> = frames.iter().flat_map(|(kind, flags, payload)| frame(kind % 12, *flags, payload)).collect();
        let whole = seen(&mut Frames::default(), &bytes);
        prop_assert_eq!(whole.len(), frames.len());
        let (mut reader, mut pieces, mut rest) = (Frames::default(), Vec::new(), bytes.as_slice());
        for cut in cuts.iter().cycle() {
            let (piece, after) = rest.split_at((*cut).min(rest.len()));
            pieces.extend(seen(&mut reader, piece));
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(pieces, whole);
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
        let mut meter = Meter::default();
        meter.received(&bytes, Duration::from_secs(1));
        meter.sent(&bytes);
    }
}
