//! Lists of patterns, matched by `in`: domains, networks, paths and globs.
//!
//! Each is built once from its entries and answers by lookup, not by a walk over them: lists hold up to 100,000
//! values. What a text can't be normalised to is unknown, never just absent.

use std::collections::HashSet;
use std::net::IpAddr;

use ipnet::IpNet;
use regex::{RegexSet, RegexSetBuilder};

use super::COMPILED_LIMIT;
use super::glob::{self, Glob};
use super::host::{self, Host};

/// Which entry is wrong, and why.
type BadEntry = (usize, String);

/// Host names with everything below them, and addresses.
#[derive(Debug, Clone, Default)]
pub struct DomainList {
    names: HashSet<String>,
    addresses: HashSet<IpAddr>,
}

impl DomainList {
    /// Reads names (`bank.example`, any script) and addresses.
    pub fn new(entries: &[String]) -> Result<DomainList, BadEntry> {
        let mut list = DomainList::default();
        for (index, entry) in entries.iter().enumerate() {
            match host::alone(entry) {
                Some(Host::Name(name)) => list.names.insert(name),
                Some(Host::Address(address)) => list.addresses.insert(address),
                None => return Err((index, domain_reason(entry))),
            };
        }
        Ok(list)
    }

    /// Whether the host of a text is one of these, or below one.
    pub fn contains(&self, text: &str) -> Option<bool> {
        Some(self.contains_host(&host::host(text)?))
    }

    /// Whether a host is one of these, or below one.
    fn contains_host(&self, host: &Host) -> bool {
        match host {
            Host::Address(address) => self.addresses.contains(address),
            Host::Name(name) => suffixes(name).any(|suffix| self.names.contains(suffix)),
        }
    }
}

/// `a.b.c`, `b.c`, `c`.
fn suffixes(name: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(name), |rest| rest.split_once('.').map(|(_, below)| below))
}

fn domain_reason(entry: &str) -> String {
    let below = entry.strip_prefix("*.").or_else(|| entry.strip_prefix('.'));
    match below.filter(|name| host::alone(name).is_some()) {
        Some(name) => format!("a domain includes everything below it: write `{name}`"),
        None => match host::host(entry) {
            Some(host) => format!("a domain is a host name alone: write `{host}`"),
            None => format!("`{entry}` is not a host name or address"),
        },
    }
}

/// Networks and single addresses, IPv4 and IPv6.
#[derive(Debug, Clone, Default)]
pub struct CidrList {
    /// First and last addresses, sorted; no two ranges overlap. IPv4 stands before IPv6.
    ranges: Vec<(IpAddr, IpAddr)>,
}

impl CidrList {
    /// Reads networks (`10.0.0.0/8`) and addresses. An IPv4-mapped network is its IPv4 network.
    pub fn new(entries: &[String]) -> Result<CidrList, BadEntry> {
        let mut ranges = Vec::with_capacity(entries.len());
        for (index, entry) in entries.iter().enumerate() {
            let net = network(entry).ok_or_else(|| {
                (index, format!("`{entry}` is not a network such as `10.0.0.0/8` or an address"))
            })?;
            ranges.push((net.network(), net.broadcast()));
        }
        ranges.sort_unstable();
        // Networks nest or are apart, so a range that begins inside the one before lies wholly inside it.
        ranges.dedup_by(|next, kept| next.1 <= kept.1);
        Ok(CidrList { ranges })
    }

    /// Whether the address that a text names lies in one of these; unknown if it names none.
    pub fn contains(&self, text: &str) -> Option<bool> {
        host::address(text).map(|address| self.contains_address(address))
    }

    /// Whether an address lies in one of these.
    pub fn contains_address(&self, address: IpAddr) -> bool {
        let address = host::unmapped(address);
        let after = self.ranges.partition_point(|(first, _)| *first <= address);
        after.checked_sub(1).and_then(|at| self.ranges.get(at)).is_some_and(|(_, last)| address <= *last)
    }
}

/// How many bits of an IPv4-mapped IPv6 address stand before the IPv4 address.
const MAPPED_BITS: u8 = 96;

/// The network that an entry names: `10.0.0.0/8`, or an address alone. An IPv4-mapped one is its IPv4 network.
pub fn network(entry: &str) -> Option<IpNet> {
    let net = match entry.parse::<IpNet>() {
        Ok(net) => net,
        Err(_) => IpNet::from(entry.parse::<IpAddr>().ok()?),
    };
    let net = match net {
        IpNet::V6(v6) if v6.prefix_len() >= MAPPED_BITS => match v6.addr().to_ipv4_mapped() {
            Some(v4) => IpNet::new(v4.into(), v6.prefix_len() - MAPPED_BITS).ok()?,
            None => net,
        },
        _ => net,
    };
    Some(net.trunc())
}

/// Folders and files: a path is in the list if it is one of them or lies inside one.
#[derive(Debug, Clone, Default)]
pub struct PathList {
    roots: HashSet<String>,
    /// How long the longest of them is: no folder longer than that is looked up.
    longest: usize,
}

impl PathList {
    /// Reads absolute paths.
    pub fn new(entries: &[String]) -> Result<PathList, BadEntry> {
        let roots = entries.iter().enumerate().map(|(index, entry)| {
            normal_path(entry).ok_or_else(|| {
                (index, format!("`{entry}` is not an absolute path: begin it with `/`, stay below `/`"))
            })
        });
        let roots = roots.collect::<Result<HashSet<String>, _>>()?;
        let longest = roots.iter().map(String::len).max().unwrap_or(0);
        Ok(PathList { roots, longest })
    }

    /// Whether a path is one of these or inside one, by its text alone: links are not followed.
    pub fn contains(&self, text: &str) -> Option<bool> {
        let path = normal_path(text)?;
        let cuts = path.char_indices().skip(1).filter(|(_, c)| *c == '/').map(|(at, _)| at);
        let cuts = cuts.take_while(|at| *at <= self.longest);
        let inside = cuts.filter_map(|at| path.get(..at)).any(|folder| self.roots.contains(folder));
        Some(inside || self.roots.contains(&path) || self.roots.contains("/"))
    }
}

/// An absolute path without `.`, `..`, doubled or final slashes; none if it is relative or climbs above `/`.
pub fn normal_path(text: &str) -> Option<String> {
    if !text.starts_with('/') || text.contains('\0') {
        return None;
    }
    let mut parts = Vec::new();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(format!("/{}", parts.join("/")))
}

/// Globs; see [`Glob`].
#[derive(Debug, Clone, Default)]
pub struct GlobList {
    exact: HashSet<String>,
    sets: Vec<RegexSet>,
}

/// How many globs are matched as one automaton: few enough to stay in the limit, many enough to share the work.
const GLOBS_TOGETHER: usize = 64;

impl GlobList {
    /// Compiles globs.
    pub fn new(entries: &[String]) -> Result<GlobList, BadEntry> {
        let mut list = GlobList::default();
        let mut wild = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            if glob::has_wildcards(entry) {
                wild.push((index, entry.as_str()));
            } else {
                list.exact.insert(entry.clone());
            }
        }
        for globs in wild.chunks(GLOBS_TOGETHER) {
            list.add(globs)?;
        }
        Ok(list)
    }

    /// Compiles globs together; where they are too large together, half by half.
    fn add(&mut self, globs: &[(usize, &str)]) -> Result<(), BadEntry> {
        let patterns = globs.iter().map(|(_, pattern)| glob::as_regex(pattern));
        match (RegexSetBuilder::new(patterns).size_limit(COMPILED_LIMIT).build(), globs) {
            (Ok(set), _) => self.sets.push(set),
            (Err(_), [(index, pattern)]) => {
                return Err((*index, Glob::new(pattern).err().unwrap_or_default()));
            }
            (Err(_), _) => {
                let (left, right) = globs.split_at(globs.len() / 2);
                self.add(left)?;
                self.add(right)?;
            }
        }
        Ok(())
    }

    /// How often looking for a text passes over it: patterns are searched for some at a time.
    pub fn passes(&self) -> usize {
        1 + self.sets.len()
    }

    /// Whether a text matches one of these. Always known.
    pub fn contains(&self, text: &str) -> Option<bool> {
        Some(self.exact.contains(text) || self.sets.iter().any(|set| set.is_match(text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entries(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn domains_hold_what_is_below_them() {
        let list = DomainList::new(&entries(&[
            "Bank.example.",
            "api.stripe.com",
            "bücher.example",
            "10.0.0.1",
            "::1",
        ]));
        let list = list.expect("a good case");
        for (text, want) in [
            ("bank.example", Some(true)),
            ("https://www.BANK.example:443/x", Some(true)),
            ("a.b.c.bank.example.", Some(true)),
            ("evilbank.example", Some(false)),
            ("bank.example.evil.example", Some(false)),
            ("example", Some(false)),
            ("stripe.com", Some(false)),
            ("https://bank.example@evil.example", Some(false)),
            ("ann@bank.example", Some(true)),
            ("xn--bcher-kva.example", Some(true)),
            ("http://0xa.1/", Some(true)),
            ("[::ffff:10.0.0.1]:80", Some(true)),
            ("x.10.0.0.1", None),
            ("[::1]:80", Some(true)),
            ("10.0.0.2", Some(false)),
            ("bank.example\\.evil.example", None),
            ("", None),
        ] {
            assert_eq!(list.contains(text), want, "{text}");
        }
    }

    #[test]
    fn a_bad_domain_says_what_to_write() {
        for (entry, want) in [
            ("*.bank.example", "a domain includes everything below it: write `bank.example`"),
            (".bank.example", "a domain includes everything below it: write `bank.example`"),
            ("https://bank.example/x", "a domain is a host name alone: write `bank.example`"),
            ("bank.example:443", "a domain is a host name alone: write `bank.example`"),
            ("", "`` is not a host name or address"),
            ("ba nk", "`ba nk` is not a host name or address"),
        ] {
            assert_eq!(
                DomainList::new(&entries(&["ok.example", entry])).err(),
                Some((1, want.to_owned())),
                "{entry}"
            );
        }
    }

    #[test]
    fn networks_hold_their_addresses() {
        let list = CidrList::new(&entries(&[
            "10.0.0.0/8",
            "10.1.0.0/16",
            "192.0.2.7",
            "192.0.2.8/32",
            "::ffff:172.16.0.0/108",
            "2001:db8::/32",
            "203.0.113.9/24",
        ]));
        let list = list.expect("a good case");
        for (text, want) in [
            ("10.0.0.0", Some(true)),
            ("10.255.255.255", Some(true)),
            ("11.0.0.0", Some(false)),
            ("9.255.255.255", Some(false)),
            ("10.200.0.1", Some(true)),
            ("192.0.2.7", Some(true)),
            ("192.0.2.8", Some(true)),
            ("192.0.2.9", Some(false)),
            ("172.31.0.1", Some(true)),
            ("172.32.0.0", Some(false)),
            ("::ffff:10.0.0.1", Some(true)),
            ("0xa000001", Some(true)),
            ("http://10.0.0.1:80/", Some(true)),
            ("2001:db8:ffff::1", Some(true)),
            ("[2001:db9::]", Some(false)),
            ("203.0.113.255", Some(true)),
            ("example.com", None),
            ("fe80::1%eth0", None),
            ("", None),
        ] {
            assert_eq!(list.contains(text), want, "{text}");
        }
        assert!(!CidrList::default().contains_address(IpAddr::from([1, 2, 3, 4])));
        for entry in
            ["10.0.0.0/33", "10.0.0/8", "example.com", "", "10.0.0.0/-1", "fe80::1%eth0", "010.0.0.1"]
        {
            assert_eq!(
                CidrList::new(&entries(&["::1", entry])).err().map(|(index, _)| index),
                Some(1),
                "{entry}"
            );
        }
    }

    #[test]
    fn paths_are_inside_by_their_text() {
        let list = PathList::new(&entries(&["/srv/data/", "/tmp//x/../work"])).expect("a good case");
        for (text, want) in [
            ("/srv/data", Some(true)),
            ("/srv/data/", Some(true)),
            ("/srv/data/a/b", Some(true)),
            ("/srv/database", Some(false)),
            ("/srv", Some(false)),
            ("/", Some(false)),
            ("/srv/data/../secret", Some(false)),
            ("/srv/./data//a/../b", Some(true)),
            ("/etc/../srv/data", Some(true)),
            ("//srv/data", Some(true)),
            ("/tmp/work/y", Some(true)),
            ("/tmp/x", Some(false)),
            ("/srv/data/...", Some(true)),
            ("/SRV/data", Some(false)),
            ("/../srv/data", None),
            ("/srv/../../etc", None),
            ("srv/data", None),
            ("./srv/data", None),
            ("~/x", None),
            ("C:\\x", None),
            ("/srv/data\0/../x", None),
            ("", None),
        ] {
            assert_eq!(list.contains(text), want, "{text:?}");
        }
        assert_eq!(PathList::new(&entries(&["/"])).map(|list| list.contains("/etc")), Ok(Some(true)));
        assert_eq!(PathList::new(&entries(&["/a", "b"])).err().map(|(index, _)| index), Some(1));
        assert_eq!(normal_path("/a/b/../../"), Some("/".to_owned()));
    }

    #[test]
    fn globs_match_any_entry() {
        let list = GlobList::new(&entries(&["send_*", "delete?", "exact"])).expect("a good case");
        for (text, want) in [
            ("send_mail", true),
            ("delete1", true),
            ("delete", false),
            ("exact", true),
            ("exactly", false),
            ("", false),
        ] {
            assert_eq!(list.contains(text), Some(want), "{text}");
        }
        let many: Vec<String> = (0..1_000).map(|n| format!("tool_{n}_*")).collect();
        let list = GlobList::new(&many).expect("a good case");
        assert_eq!(list.contains("tool_999_x"), Some(true));
        assert_eq!(list.contains("tool_1000_x"), Some(false));
        let bad = [many, vec!["?".repeat(100_000)]].concat();
        assert_eq!(GlobList::new(&bad).err(), Some((1_000, "the glob is too long".to_owned())));
    }

    proptest! {
        #[test]
        fn a_network_list_agrees_with_a_walk(nets in prop::collection::vec((any::<u32>(), 0u8..=32), 0..20), probe in any::<u32>(), near in any::<bool>()) {
            let nets: Vec<_> = nets.into_iter().map(|(bits, len)| ipnet::Ipv4Net::new(bits.into(), len).expect("a good case")).collect();
            let probe = match nets.first() {
                Some(net) if near => net.broadcast(),
                _ => probe.into(),
            };
            let list = CidrList::new(&nets.iter().map(ToString::to_string).collect::<Vec<_>>()).expect("a good case");
            prop_assert_eq!(list.contains_address(probe.into()), nets.iter().any(|net| net.contains(&probe)));
        }

        #[test]
        fn a_normal_path_stays_as_it_is(text in "[/.a]{0,16}") {
            if let Some(path) = normal_path(&text) {
                prop_assert_eq!(normal_path(&path), Some(path.clone()));
                prop_assert!(!path.split('/').any(|part| part == ".."));
            }
        }
    }
}
