//! How many connections each address has: one that takes too many gets no more.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

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
    fn an_ipv6_network_counts_as_one() {
        let peers = Arc::new(Peers::default());
        let admit = |address: &str| peers.admit(address.parse().unwrap(), 1);
        let first = admit("2001:db8::1");
        assert!(first.is_some());
        assert!(admit("2001:db8::2:1").is_none());
        assert!(admit("2001:db8:0:1::1").is_some());
    }
}
