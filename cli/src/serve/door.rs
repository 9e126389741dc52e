//! How many may be connected: so many in all, and so many from one address, so that one host cannot keep
//! all others out.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub struct Door {
    most: usize,
    most_from_one: usize,
    inside: Mutex<HashMap<IpAddr, usize>>,
}

/// A place inside, until it is dropped.
pub struct Place {
    door: Arc<Door>,
    from: IpAddr,
}

impl Door {
    pub fn new(most: usize, most_from_one: usize) -> Arc<Door> {
        Arc::new(Door {
            most,
            most_from_one,
            inside: Mutex::default(),
        })
    }

    /// None: there is no place.
    pub fn enter(self: &Arc<Self>, from: IpAddr) -> Option<Place> {
        let from = network(from);
        let mut inside = self.inside();
        let from_there = inside.get(&from).copied().unwrap_or_default();
        if inside.values().sum::<usize>() >= self.most || from_there >= self.most_from_one {
            return None;
        }
        inside.insert(from, from_there + 1);
        Some(Place {
            door: self.clone(),
            from,
        })
    }

    fn inside(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inside = self.door.inside();
        match inside.get_mut(&self.from) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(inside.remove(&self.from)),
        }
    }
}

/// Whoever has one IPv6 address has 2^64 of them.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn enter(door: &Arc<Door>, from: &str) -> Option<Place> {
        door.enter(from.parse().unwrap())
    }

    #[test]
    fn one_host_cannot_take_all_places() {
        let door = Door::new(3, 2);
        let first = enter(&door, "2001:db8::1");
        let second = enter(&door, "2001:db8::2:0:0:1");
        assert!(first.is_some() && second.is_some());
        assert!(enter(&door, "2001:db8::3").is_none(), "of the same network");
        let other = enter(&door, "192.0.2.1");
        assert!(other.is_some());
        assert!(enter(&door, "192.0.2.2").is_none(), "all places are taken");
        drop(first);
        assert!(enter(&door, "192.0.2.2").is_some(), "one is free again");
    }

    #[test]
    fn nothing_is_remembered_of_who_has_gone() {
        let door = Door::new(10, 2);
        for host in 0..50 {
            assert!(enter(&door, &format!("192.0.2.{host}")).is_some());
        }
        assert!(door.inside().is_empty());
        let mapped = [enter(&door, "::ffff:192.0.2.1"), enter(&door, "192.0.2.1")];
        assert!(enter(&door, "192.0.2.1").is_none(), "the same host");
        drop(mapped);
    }
}
