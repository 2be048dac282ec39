//! Rules by the networks of which an address has to be in one: a look-up for each length of prefix, however many rules.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::need::Wanted;
use super::{Found, Seen};

/// Rules by network.
#[derive(Debug)]
pub(super) struct NetIndex {
    pub(super) slot: usize,
    /// The lengths of prefixes that there are, of IPv4 and of IPv6.
    pub(super) lengths: Vec<(bool, u8)>,
    pub(super) by_net: HashMap<IpNet, Vec<usize>, foldhash::fast::RandomState>,
    /// Every rule that is found so: where there is no address, all are candidates.
    pub(super) all: Vec<usize>,
}

impl NetIndex {
    pub(super) fn new(slot: usize, found: &[Found<'_>]) -> NetIndex {
        let all = found.iter().map(|(rule, _)| *rule).collect();
        let mut index = NetIndex { slot, lengths: Vec::new(), by_net: HashMap::default(), all };
        for (rule, need) in found {
            for value in &need.values {
                let Wanted::Net(net) = value else { continue };
                index.by_net.entry(*net).or_default().push(*rule);
            }
        }
        index.lengths = index.by_net.keys().map(|net| (net.addr().is_ipv6(), net.prefix_len())).collect();
        index.lengths.sort_unstable();
        index.lengths.dedup();
        index
    }

    /// Adds the rules that could match, each once.
    pub(super) fn candidates(&self, address: Option<IpAddr>, seen: &mut Seen, found: &mut Vec<usize>) {
        let Some(address) = address else {
            seen.add(Some(&self.all), found);
            return;
        };
        for (_, length) in self.lengths.iter().filter(|(v6, _)| *v6 == address.is_ipv6()) {
            let net = IpNet::new(address, *length).map(|net| net.trunc());
            seen.add(net.ok().and_then(|net| self.by_net.get(&net)), found);
        }
    }
}
