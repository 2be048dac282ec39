//! What each address takes of connections and of places: one that takes too many gets no more.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The networks that connections come from, with how many each has.
#[derive(Debug, Default)]
pub struct Peers(Mutex<HashMap<IpAddr, usize>>);

/// A connection that counts for as long as this lives.
#[derive(Debug)]
pub struct Admitted {
    peers: Arc<Peers>,
    network: IpAddr,
}

impl Peers {
    /// Counts one more connection of this address, unless it has `most` already.
    pub fn admit(self: &Arc<Peers>, address: IpAddr, most: usize) -> Option<Admitted> {
        let network = network(address);
        let mut peers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let open = peers.entry(network).or_default();
        if *open >= most {
            return None;
        }
        *open += 1;
        Some(Admitted { peers: Arc::clone(self), network })
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut peers = self.peers.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = peers.get_mut(&self.network) {
            *open -= 1;
            if *open == 0 {
                peers.remove(&self.network);
            }
        }
    }
}

/// Places for what is costly and may be asked by anybody, with a share that no address exceeds.
#[derive(Debug)]
pub struct Places {
    all: Arc<Semaphore>,
    peers: Arc<Peers>,
    share: usize,
}

/// A place that is taken for as long as this lives.
#[derive(Debug)]
#[expect(dead_code, reason = "they are held, and nothing else")]
pub struct Place(Admitted, OwnedSemaphorePermit);

impl Places {
    /// So many places, and so many of them for one address.
    pub fn new(all: usize, share: usize) -> Places {
        Places { all: Arc::new(Semaphore::new(all)), peers: Arc::default(), share }
    }

    /// Takes one for this address, if it may have another and there is one.
    pub fn take(&self, address: IpAddr) -> Option<Place> {
        let admitted = self.peers.admit(address, self.share)?;
        Some(Place(admitted, Arc::clone(&self.all).try_acquire_owned().ok()?))
    }
}

/// What counts as one: an IPv4 address however it is written, or the 64 bits of IPv6 that one customer gets.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_its_share() {
        let peers = Arc::new(Peers::default());
        let admit = |address: &str| peers.admit(address.parse().unwrap(), 2);
        let first = admit("10.0.0.1");
        let second = admit("::ffff:10.0.0.1");
        assert!(first.is_some() && second.is_some());
        assert!(admit("10.0.0.1").is_none());
        assert!(admit("10.0.0.2").is_some());
        drop(first);
        assert!(admit("10.0.0.1").is_some());
        drop(second);
        assert!(peers.0.lock().unwrap().is_empty());
    }

    #[test]
    fn no_address_takes_the_places_of_others() {
        let places = Places::new(5, 2);
        let take = |address: &str| places.take(address.parse().unwrap());
        let greedy: Vec<_> = (0..9).filter_map(|_| take("10.0.0.1")).collect();
        assert_eq!(greedy.len(), 2);
        let others = [take("10.0.0.2"), take("10.0.0.3"), take("10.0.0.4")];
        assert!(others.iter().all(Option::is_some));
        assert!(take("10.0.0.5").is_none());
        drop(greedy);
        assert!(take("10.0.0.1").is_some());
        drop(others);
        assert_eq!((places.all.available_permits(), places.peers.0.lock().unwrap().len()), (5, 0));
    }

    #[test]
    fn an_ipv6_network_counts_as_one() {
        let peers = Arc::new(Peers::default());
        let admit = |address: &str| peers.admit(address.parse().unwrap(), 1);
        let first = admit("2001:db8::1");
        assert!(first.is_some());
        assert!(admit("2001:db8::2:1").is_none());
        assert!(admit("2001:db8:0:1::1").is_some());
    }
}
