//! A short list that only grows and is read without a lock: what a route has met so far (methods, codes, endpoints).
//!
//! Entries come in the order in which traffic meets them, so the usual one is the first. Made for a handful of
//! entries whose number the configuration or a closed list bounds.

use std::sync::OnceLock;

/// The list.
#[derive(Debug)]
pub struct Chain<K, V> {
    head: OnceLock<Box<Link<K, V>>>,
}

#[derive(Debug)]
struct Link<K, V> {
    key: K,
    value: V,
    next: OnceLock<Box<Link<K, V>>>,
}

impl<K, V> Default for Chain<K, V> {
    fn default() -> Self {
        Self { head: OnceLock::new() }
    }
}

impl<K, V> Chain<K, V> {
    /// The value whose key `is` the one sought, made (perhaps more than once, by a race) when there is none.
    pub fn entry(&self, is: impl Fn(&K) -> bool, make: impl Fn() -> (K, V)) -> &V {
        let mut place = &self.head;
        loop {
            let link = place.get_or_init(|| {
                let (key, value) = make();
                Box::new(Link { key, value, next: OnceLock::new() })
            });
            if is(&link.key) {
                return &link.value;
            }
            place = &link.next;
        }
    }

    /// Every entry, in the order in which they came.
    pub fn each(&self, mut see: impl FnMut(&K, &V)) {
        let mut place = &self.head;
        while let Some(link) = place.get() {
            see(&link.key, &link.value);
            place = &link.next;
        }
    }

    /// The value whose key `is` the one sought, if there is one.
    pub fn get(&self, is: impl Fn(&K) -> bool) -> Option<&V> {
        let mut place = &self.head;
        loop {
            let link = place.get()?;
            if is(&link.key) {
                return Some(&link.value);
            }
            place = &link.next;
        }
    }
}

impl<K, V> Drop for Chain<K, V> {
    /// One link after the other: a long list must not end in deep recursion.
    fn drop(&mut self) {
        let mut next = self.head.take();
        while let Some(mut link) = next {
            next = link.next.take();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(chain: &Chain<u32, String>, key: u32) -> &str {
        chain.entry(|known| *known == key, || (key, key.to_string()))
    }

    #[test]
    fn every_key_is_kept_once() {
        let chain = Chain::default();
        let first = entry(&chain, 200).as_ptr();
        assert_eq!((entry(&chain, 404), entry(&chain, 500)), ("404", "500"));
        assert_eq!(entry(&chain, 200).as_ptr(), first, "the value was made anew");
        assert_eq!(chain.get(|key| *key == 404).map(String::as_str), Some("404"));
        assert_eq!(chain.get(|key| *key == 1), None);
    }

    #[test]
    fn threads_that_race_agree() {
        let chain = Chain::default();
        let places: Vec<usize> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..100).map(|key| entry(&chain, key).as_ptr() as usize).collect::<Vec<_>>()))
                .collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        let distinct: std::collections::HashSet<_> = places.iter().collect();
        assert_eq!((places.len(), distinct.len()), (400, 100));
    }

    #[test]
    fn a_long_chain_is_dropped_without_recursion() {
        let chain = Chain::default();
        let mut place: &OnceLock<Box<Link<u32, ()>>> = &chain.head;
        for key in 0..200_000 {
            place = &place.get_or_init(|| Box::new(Link { key, value: (), next: OnceLock::new() })).next;
        }
        drop(chain);
    }
}
