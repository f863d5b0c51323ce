//! The fuzzers' oracles, on every run of the tests: their seeds, and a few thousand mutations of them, always the same.
//! The fuzzers themselves (`fuzz/`) go further; what they find becomes a seed.

use std::fs;

#[path = "../../fuzz/oracles/back.rs"]
mod back;
#[path = "../../fuzz/oracles/callback.rs"]
mod callback;
#[path = "../../fuzz/oracles/chunked.rs"]
mod chunked;
#[path = "../../fuzz/oracles/configuration.rs"]
mod configuration;
#[path = "../../fuzz/oracles/forwarded.rs"]
mod forwarded;
#[path = "../../fuzz/oracles/head.rs"]
mod head;
#[path = "../../fuzz/oracles/host.rs"]
mod host;
#[path = "../../fuzz/oracles/import.rs"]
mod import;
#[path = "../../fuzz/oracles/jwks.rs"]
mod jwks;
#[path = "../../fuzz/oracles/jwt.rs"]
mod jwt;
#[path = "../../fuzz/oracles/path.rs"]
mod path;
#[path = "../../fuzz/oracles/provider_answer.rs"]
mod provider_answer;
#[path = "../../fuzz/oracles/request.rs"]
mod request;
#[path = "../../fuzz/oracles/token_file.rs"]
mod token_file;
#[path = "../../fuzz/oracles/upstream_host.rs"]
mod upstream_host;

/// Mutations of each seed.
const MUTATIONS: u32 = 2_000;
/// Of an answer or a document, much of which is checked piece by piece.
const FEWER_MUTATIONS: u32 = 500;
/// Of what is slow to read: a configuration, a token with its signatures.
const SLOW_MUTATIONS: u32 = 150;

#[test]
fn the_fuzzers_oracles_hold_for_their_seeds_and_what_is_near_them() {
    type Oracle = (&'static str, fn(&[u8]), u32);
    let oracles: [Oracle; 15] = [
        ("back", back::check, MUTATIONS),
        ("callback", callback::check, MUTATIONS),
        ("chunked", chunked::check, MUTATIONS),
        ("configuration", configuration::check, SLOW_MUTATIONS),
        ("forwarded", forwarded::check, MUTATIONS),
        ("head", head::check, MUTATIONS),
        ("host", host::check, MUTATIONS),
        ("import", import::check, FEWER_MUTATIONS),
        ("jwks", jwks::check, FEWER_MUTATIONS),
        ("jwt", jwt::check, SLOW_MUTATIONS),
        ("path", path::check, MUTATIONS),
        ("provider_answer", provider_answer::check, FEWER_MUTATIONS),
        ("request", request::check, MUTATIONS),
        ("token_file", token_file::check, MUTATIONS),
        ("upstream_host", upstream_host::check, MUTATIONS),
    ];
    for (name, check, mutations) in oracles {
        let seeds = seeds(name);
        assert!(!seeds.is_empty(), "no seed for {name}");
        let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
        for seed in &seeds {
            hold(name, check, seed);
            for _ in 0..mutations {
                hold(name, check, &mutated(seed, &seeds, &mut chance));
            }
        }
    }
}

/// A failure says what it was about.
fn hold(name: &str, check: fn(&[u8]), input: &[u8]) {
    if std::panic::catch_unwind(|| check(input)).is_err() {
        panic!("{name} does not hold for {:?}", String::from_utf8_lossy(input));
    }
}

fn seeds(name: &str) -> Vec<Vec<u8>> {
    let listed = fs::read_dir(format!("{}/fuzz/seeds/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let mut files: Vec<_> = listed.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// A little generator (xorshift): the same sequence on every machine.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % end.max(1)
    }
}

/// Bytes that mean something to one of the readers.
const TELLING: &[u8] = b"\r\n \t:;,/.\\%#?@[]{}&*\"'\0\x7f\xff0x+-_~aAfF";

fn mutated(seed: &[u8], seeds: &[Vec<u8>], chance: &mut Chance) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=chance.below(4) {
        let at = chance.below(bytes.len());
        let telling = TELLING[chance.below(TELLING.len())];
        match chance.below(6) {
            0 if !bytes.is_empty() => bytes[at] = telling,
            1 => bytes.insert(at, telling),
            2 if !bytes.is_empty() => drop(bytes.remove(at)),
            3 => bytes.truncate(at),
            4 => {
                let other = &seeds[chance.below(seeds.len())];
                bytes.extend_from_slice(&other[chance.below(other.len())..]);
            }
            _ => {
                let piece = bytes[at..].to_vec();
                bytes.extend(piece);
            }
        }
        bytes.truncate(8192);
    }
    bytes
}
