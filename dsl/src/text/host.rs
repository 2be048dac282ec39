//! The host that a text names: of a URL, `host:port`, a bare name or address, or an e-mail address.
//!
//! Programs disagree about odd texts (`https://good.example\@evil.example/`), and who checks one reading while the
//! agent's HTTP client takes the other is fooled. So whatever well-known readers take differently is unknown.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A normalised host: equal hosts are equal values.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// A name: UTS 46 (non-transitional), lower-case ASCII, without the final dot.
    Name(String),
    /// An address; an IPv4-mapped IPv6 address is IPv4.
    Address(IpAddr),
}

impl fmt::Display for Host {
    /// IPv6 stands without brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => f.write_str(name),
            Host::Address(address) => address.fmt(f),
        }
    }
}

/// The host of a URL, `host:port`, name, address or e-mail address; none if it can't be normalised.
pub fn host(text: &str) -> Option<Host> {
    host_and_port(text).map(|(host, _)| host)
}

/// The port that a text names; there is no default. None too where the host can't be normalised.
pub fn port(text: &str) -> Option<u16> {
    host_and_port(text)?.1
}

/// The address that a text names, where its host is an address.
pub fn address(text: &str) -> Option<IpAddr> {
    match host(text)? {
        Host::Address(address) => Some(address),
        Host::Name(_) => None,
    }
}

/// A host that stands alone, as an author writes one into a list: no scheme, user, port or path.
pub(crate) fn alone(text: &str) -> Option<Host> {
    if text.contains(['/', '\\', '?', '#', '@']) {
        return None;
    }
    match host_and_port(text)? {
        (host, None) if !text.ends_with(':') => Some(host),
        _ => None,
    }
}

/// An IPv4-mapped IPv6 address as IPv4, any other as it is.
pub(crate) fn unmapped(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// Schemes whose URLs some readers also accept without `//`: `https:evil.example` must not be the host `https`.
const SCHEMES: [&str; 7] = ["http", "https", "ws", "wss", "ftp", "file", "mailto"];

fn host_and_port(text: &str) -> Option<(Host, Option<u16>)> {
    let (scheme, rest) = split_scheme(text);
    let hierarchical = rest.starts_with("//");
    let rest = rest.strip_prefix("//").unwrap_or(rest);
    let (authority, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let odd = |c: char| c.is_control() || c.is_whitespace() || c == '\\';
    if authority.is_empty() || authority.contains(odd) || tail.contains(char::is_control) {
        return None;
    }
    if hierarchical {
        let server = authority.rsplit_once('@').map_or(authority, |(_, server)| server);
        return server_part(server, scheme.is_some());
    }
    // A path with an `@` may as well be the local part of an e-mail address: `good.example/x@evil.example`.
    if tail.contains('@') {
        return None;
    }
    let address = authority.strip_prefix("mailto:").unwrap_or(authority);
    match address.rsplit_once('@') {
        Some((local, server)) if is_one_mailbox(local) => mail_part(server),
        Some(_) => None,
        None => server_part(address, false),
    }
}

/// `https://…` apart: the scheme, and what follows its colon. Without `//` a text has no scheme.
fn split_scheme(text: &str) -> (Option<&str>, &str) {
    let Some((scheme, rest)) = text.split_once(':') else { return (None, text) };
    let well_formed = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    if well_formed && rest.starts_with("//") { (Some(scheme), rest) } else { (None, text) }
}

/// Whether a local part is one mailbox's: a list of addresses must not pass for its last one.
fn is_one_mailbox(local: &str) -> bool {
    let quoted = local.len() > 1 && local.starts_with('"') && local.ends_with('"');
    !local.is_empty() && (quoted || !local.contains([',', ';', '<', '>']))
}

/// What follows the `@` of an e-mail address: a name, or an address in brackets.
fn mail_part(server: &str) -> Option<(Host, Option<u16>)> {
    let Some(literal) = server.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) else {
        return server_part(server, false);
    };
    let v6 = literal.get(..5).filter(|tag| tag.eq_ignore_ascii_case("ipv6:")).and_then(|_| literal.get(5..));
    let address: IpAddr = match v6 {
        Some(v6) => v6.parse::<Ipv6Addr>().ok()?.into(),
        None => literal.parse().ok()?,
    };
    Some((Host::Address(unmapped(address)), None))
}

/// Host and port, where users and paths are gone.
fn server_part(text: &str, of_url: bool) -> Option<(Host, Option<u16>)> {
    if let Some(rest) = text.strip_prefix('[') {
        let (v6, port) = rest.split_once(']')?;
        let address = v6.parse::<Ipv6Addr>().ok()?;
        let port = match port.strip_prefix(':') {
            Some(port) => port_number(port, of_url)?,
            None if port.is_empty() => None,
            None => return None,
        };
        return Some((Host::Address(unmapped(address.into())), port));
    }
    match text.split_once(':') {
        Some((_, rest)) if rest.contains(':') => {
            let bare = if of_url { None } else { text.parse::<Ipv6Addr>().ok() };
            bare.map(|address| (Host::Address(unmapped(address.into())), None))
        }
        Some((name, _)) if !of_url && SCHEMES.iter().any(|scheme| name.eq_ignore_ascii_case(scheme)) => None,
        Some((name, port)) => Some((name_or_v4(name)?, port_number(port, of_url)?)),
        None => Some((name_or_v4(text)?, None)),
    }
}

/// A port's digits. An empty port is none in a URL, and no port at all elsewhere.
fn port_number(digits: &str, of_url: bool) -> Option<Option<u16>> {
    if digits.is_empty() {
        return of_url.then_some(None);
    }
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().map(Some)
}

/// The longest name and label of DNS.
const NAME_LIMIT: usize = 253;
const LABEL_LIMIT: usize = 63;

fn name_or_v4(text: &str) -> Option<Host> {
    // Some readers decode percent escapes in host names, some don't.
    if text.contains('%') {
        return None;
    }
    if let Ok(address) = text.parse::<Ipv4Addr>() {
        return Some(Host::Address(address.into()));
    }
    let name = match url::Host::parse(text).ok()? {
        url::Host::Ipv4(address) => return Some(Host::Address(address.into())),
        url::Host::Ipv6(_) => return None,
        url::Host::Domain(name) => name,
    };
    let name = name.strip_suffix('.').unwrap_or(&name);
    let good = |label: &str| {
        !label.is_empty()
            && label.len() <= LABEL_LIMIT
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
    };
    (name.len() <= NAME_LIMIT && name.split('.').all(good)).then(|| Host::Name(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(text: &str) -> Option<String> {
        host(text).map(|host| host.to_string())
    }

    #[test]
    fn hosts_are_normalised() {
        for (text, want) in [
            ("example.com", "example.com"),
            ("EXAMPLE.com.", "example.com"),
            ("api.stripe.com:443", "api.stripe.com"),
            ("https://API.Stripe.com/v1/charges?x=1#y", "api.stripe.com"),
            ("HTTPS://api.stripe.com:8443", "api.stripe.com"),
            ("https://api.stripe.com:/", "api.stripe.com"),
            ("https://api.example?to=a@evil.example", "api.example"),
            ("https://api.example/search?q=two words", "api.example"),
            ("postgres://user:p%40ss@db.internal:5432/x", "db.internal"),
            ("//cdn.example/x.js", "cdn.example"),
            ("cdn.example/x.js", "cdn.example"),
            ("localhost", "localhost"),
            ("_dmarc.example.com", "_dmarc.example.com"),
            // Users are not hosts.
            ("https://good.example@evil.example/", "evil.example"),
            ("https://good.example:443@evil.example:80/", "evil.example"),
            ("https://a@good.example@evil.example", "evil.example"),
            ("https://evil.example/@good.example", "evil.example"),
            ("https://evil.example#@good.example", "evil.example"),
            // Mail.
            ("Ann@Example.com", "example.com"),
            ("mailto:ann@example.com", "example.com"),
            ("\"a,b@good.example\"@evil.example", "evil.example"),
            ("ann@[192.0.2.1]", "192.0.2.1"),
            ("ann@[IPv6:2001:db8::1]", "2001:db8::1"),
            // International names.
            ("Bücher.example", "xn--bcher-kva.example"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("faß.de", "xn--fa-hia.de"),
            ("ex\u{ad}ample.com", "example.com"),
            ("example。com", "example.com"),
            ("ｅｘａｍｐｌｅ.com", "example.com"),
            ("K.example", "k.example"),
            // IPv4 in its disguises.
            ("127.0.0.1", "127.0.0.1"),
            ("127.0.0.1.", "127.0.0.1"),
            ("127.1", "127.0.0.1"),
            ("2130706433", "127.0.0.1"),
            ("0x7f000001", "127.0.0.1"),
            ("0x7f.0.0x0.1:80", "127.0.0.1"),
            ("0177.0.0.01", "127.0.0.1"),
            ("http://017700000001/", "127.0.0.1"),
            ("１２７.0.0.1", "127.0.0.1"),
            // IPv6.
            ("::1", "::1"),
            ("[::1]", "::1"),
            ("[2001:DB8:0:0::1]:443", "2001:db8::1"),
            ("https://[::ffff:10.0.0.1]/", "10.0.0.1"),
            ("::ffff:a00:1", "10.0.0.1"),
        ] {
            assert_eq!(shown(text).as_deref(), Some(want), "{text}");
        }
    }

    #[test]
    fn what_readers_take_differently_is_unknown() {
        for text in [
            "",
            " ",
            ".",
            "/",
            "//",
            "///evil.example",
            "https://",
            "https:///evil.example/",
            "https:/evil.example",
            "https:evil.example",
            "https:8080",
            "http:",
            "file:///etc/passwd",
            "/etc/passwd",
            "\\\\evil.example\\share",
            "https:\\\\evil.example",
            "https://good.example\\@evil.example/",
            "good.example\\.evil.example",
            "https://good.example%2eevil.example/",
            "https://ex%61mple.com/",
            "https://good.example%00.evil.example",
            "a..example",
            ".example.com",
            "example.com..",
            " example.com",
            "example.com\n",
            "exam\tple.com",
            "example.com/\nevil.example",
            "exa\u{200b}mple .com",
            "example\u{2028}.com",
            "good.example,evil.example",
            "*.example.com",
            "exa mple.com",
            "example.com:",
            "example.com:http",
            "example.com:99999",
            "example.com:-1",
            "example.com:+80",
            "256.1.1.1",
            "1.2.3.4.5",
            "0x100000000",
            "08.1.1.1",
            "::1%eth0",
            "fe80::1%25eth0",
            "[fe80::1%25eth0]:80",
            "http://::1/",
            "[::1",
            "[::1]x",
            "[127.0.0.1]",
            "1:2:3",
            "a@evil.example,b@good.example",
            "Evil<a@evil.example>",
            "mailto:a@good.example?cc=b@evil.example",
            "good.example/x@evil.example",
            "@evil.example",
            "ann@",
            "ann@[fe80::1%1]",
            "xn--a.example",
            "a@b:c@",
        ] {
            assert_eq!(shown(text), None, "{text:?}");
        }
        assert_eq!(host(&format!("{}.example", "a".repeat(64))), None);
        assert_eq!(host(&"a.".repeat(200)), None);
    }

    #[test]
    fn ports_have_no_default() {
        for (text, want) in [
            ("https://a.example:8443/x", Some(8443)),
            ("a.example:0080", Some(80)),
            ("[::1]:443", Some(443)),
            ("https://a.example/", None),
            ("https://a.example:/", None),
            ("a.example:65536", None),
            ("::1", None),
            ("https://user:80@a.example/", None),
            ("bad%20host:80", None),
        ] {
            assert_eq!(port(text), want, "{text}");
        }
    }

    #[test]
    fn addresses_are_hosts_that_are_no_names() {
        assert_eq!(address("http://0x7f.1/"), Some(IpAddr::from([127, 0, 0, 1])));
        assert_eq!(address("example.com"), None);
        assert_eq!(alone("example.com:80"), None);
        assert_eq!(alone("https://example.com"), None);
        assert_eq!(alone("::1"), Some(Host::Address(IpAddr::from(Ipv6Addr::LOCALHOST))));
    }

    proptest! {
        #[test]
        fn normalising_twice_changes_nothing(text in "\\PC{0,24}|[a-zß.0-9:/@\\[\\]%-]{0,24}") {
            if let Some(first) = host(&text) {
                prop_assert_eq!(host(&first.to_string()), Some(first));
            }
        }

        /// A URL's host is what a browser takes it for, or unknown.
        #[test]
        fn a_known_host_of_a_url_is_the_one_a_browser_takes(rest in "[a-zA-Z0-9.:/@\\\\?#\\[\\]%_ -]{0,20}") {
            let text = format!("https://{rest}");
            if let Some(ours) = host(&text) {
                let theirs = url::Url::parse(&text).map(|url| url.host().map(|host| host.to_string()));
                let ours = match ours {
                    Host::Address(IpAddr::V6(address)) => format!("[{address}]"),
                    other => other.to_string(),
                };
                let theirs = theirs.ok().flatten().map(|name| name.trim_end_matches('.').to_owned());
                prop_assert_eq!(Some(ours), theirs, "{}", text);
            }
        }
    }
}
