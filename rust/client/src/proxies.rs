//! Which proxy leads to a URL, as the environment says: `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`
//! and `NO_PROXY`, in lower or upper case; lower case wins, as with curl.
//!
//! Speaking to proxies is `reqwest`'s. Credentials in a proxy's URL are never shown.

use std::net::IpAddr;

use reqwest::Url;

use crate::error::{Error, Result};
use crate::tls::Env;

/// Schemes of proxies that can be used.
const SCHEMES: [&str; 6] = ["http", "https", "socks4", "socks4a", "socks5", "socks5h"];

/// The proxies of an environment.
#[derive(Clone, Default)]
pub(crate) struct Proxies {
    http: Option<Proxy>,
    https: Option<Proxy>,
    exempt: Vec<Exempt>,
}

/// One proxy and the variable that named it.
#[derive(Clone)]
pub(crate) struct Proxy {
    variable: &'static str,
    url: Url,
}

impl Proxies {
    /// Read the environment. A variable that does not hold the URL of a proxy is an error.
    pub(crate) fn from_env(env: Env<'_>) -> Result<Self> {
        let all = proxy(env, ["all_proxy", "ALL_PROXY"])?;
        Ok(Self {
            http: proxy(env, ["http_proxy", "HTTP_PROXY"])?.or_else(|| all.clone()),
            https: proxy(env, ["https_proxy", "HTTPS_PROXY"])?.or(all),
            exempt: variable(env, ["no_proxy", "NO_PROXY"])
                .map(|(_, list)| exempt_list(&list))
                .unwrap_or_default(),
        })
    }

    /// Say whether no URL has a proxy.
    pub(crate) fn is_empty(&self) -> bool {
        self.http.is_none() && self.https.is_none()
    }

    /// Return the proxy that leads to `url`, if one does.
    pub(crate) fn pick(&self, url: &Url) -> Option<&Proxy> {
        let proxy = match url.scheme() {
            "http" => self.http.as_ref(),
            "https" => self.https.as_ref(),
            _ => None,
        }?;
        let host = url.host_str()?.trim_end_matches('.').to_ascii_lowercase();
        let port = url.port_or_known_default();
        let exempt = self.exempt.iter().any(|rule| rule.matches(&host, port));
        (!exempt).then_some(proxy)
    }
}

impl Proxy {
    /// Return the whole URL, credentials included.
    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    /// Name the proxy for a message: host, port and where it was set.
    pub(crate) fn describe(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        match self.url.port_or_known_default() {
            Some(port) => format!("{host}:{port} (from {})", self.variable),
            None => format!("{host} (from {})", self.variable),
        }
    }
}

fn variable(env: Env<'_>, names: [&'static str; 2]) -> Option<(&'static str, String)> {
    names.into_iter().find_map(|name| {
        env(name)
            .filter(|value| !value.trim().is_empty())
            .map(|value| (name, value))
    })
}

fn proxy(env: Env<'_>, names: [&'static str; 2]) -> Result<Option<Proxy>> {
    let Some((variable, value)) = variable(env, names) else {
        return Ok(None);
    };
    let value = value.trim();
    // "host:port" alone means an HTTP proxy.
    let text = if value.contains("://") {
        value.to_owned()
    } else {
        format!("http://{value}")
    };
    let mut url = Url::parse(&text)
        .ok()
        .filter(|url| SCHEMES.contains(&url.scheme()) && url.host_str().is_some_and(|host| !host.is_empty()))
        .ok_or_else(|| Error::Config {
            what: variable,
            // The value may hold a password.
            message: "is not the URL of a proxy: wanted http, https, socks5 or socks5h ://[user:password@]host[:port]"
                .to_owned(),
        })?;
    if url.scheme().starts_with("socks") && url.port().is_none() {
        // Has no effect on a URL that cannot have a port; this one has a host.
        let _ = url.set_port(Some(1080));
    }
    Ok(Some(Proxy { variable, url }))
}

/// One entry of `NO_PROXY`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Exempt {
    All,
    /// A domain and all below it, perhaps one port only.
    Domain(String, Option<u16>),
    /// A network: its address and how many bits of it count; perhaps one port only.
    Network(IpAddr, u32, Option<u16>),
}

impl Exempt {
    fn matches(&self, host: &str, port: Option<u16>) -> bool {
        let same_port = |wanted: &Option<u16>| wanted.is_none() || *wanted == port;
        match self {
            Self::All => true,
            Self::Domain(domain, wanted) => {
                let below = host.strip_suffix(domain.as_str());
                same_port(wanted) && below.is_some_and(|below| below.is_empty() || below.ends_with('.'))
            }
            Self::Network(network, bits, wanted) => {
                let address = host.trim_start_matches('[').trim_end_matches(']').parse();
                same_port(wanted) && address.is_ok_and(|address| in_network(address, *network, *bits))
            }
        }
    }
}

fn exempt_list(list: &str) -> Vec<Exempt> {
    list.split([',', ' ', '\t'])
        .map(str::trim)
        .filter(|entry| !entry.is_empty())
        .filter_map(exempt)
        .collect()
}

fn exempt(entry: &str) -> Option<Exempt> {
    if entry == "*" {
        return Some(Exempt::All);
    }
    if let Some((address, bits)) = entry.split_once('/') {
        let address: IpAddr = address.trim_matches(['[', ']']).parse().ok()?;
        let bits = bits.parse().ok().filter(|bits| *bits <= width(address))?;
        return Some(Exempt::Network(address, bits, None));
    }
    let whole = |address: IpAddr, port| Exempt::Network(address, width(address), port);
    if let Ok(address) = entry.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Some(whole(address, None));
    }
    let (host, port) = match entry.rsplit_once(':') {
        Some((host, port)) => (host, Some(port.parse().ok()?)),
        None => (entry, None),
    };
    if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Some(whole(address, port));
    }
    let domain = host.trim_start_matches("*.").trim_matches('.').to_ascii_lowercase();
    (!domain.is_empty()).then_some(Exempt::Domain(domain, port))
}

const fn width(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

fn in_network(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    let differing = match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        _ => return false,
    };
    differing >= bits
}

#[cfg(test)]
mod tests {
    use reqwest::Url;

    use super::Proxies;

    fn proxies(variables: &[(&str, &str)]) -> Proxies {
        let env = |name: &str| {
            variables
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        };
        Proxies::from_env(&env).unwrap()
    }

    fn pick(proxies: &Proxies, url: &str) -> Option<String> {
        proxies.pick(&Url::parse(url).unwrap()).map(super::Proxy::describe)
    }

    #[test]
    fn each_scheme_has_its_variable_and_lower_case_wins() {
        let both = proxies(&[
            ("HTTP_PROXY", "upper:1"),
            ("http_proxy", "lower:2"),
            ("HTTPS_PROXY", "http://secure"),
            ("ALL_PROXY", "socks5h://all"),
        ]);
        assert_eq!(pick(&both, "http://host/").unwrap(), "lower:2 (from http_proxy)");
        assert_eq!(pick(&both, "https://host/").unwrap(), "secure:80 (from HTTPS_PROXY)");
        let all = proxies(&[("ALL_PROXY", "socks5h://all"), ("http_proxy", "")]);
        assert_eq!(pick(&all, "http://host/").unwrap(), "all:1080 (from ALL_PROXY)");
        assert!(proxies(&[("NO_PROXY", "*")]).is_empty());
    }

    #[test]
    fn exempt_hosts_are_those_of_curl() {
        let list = "example.com, .dotted.org internal.net:8080,10.0.0.0/8,192.168.1.7,[fd00::]/8,::1,*.star.io,host:x";
        let proxies = proxies(&[("all_proxy", "http://p:3128"), ("no_proxy", list)]);
        for url in [
            "http://example.com/",
            "https://EXAMPLE.com./",
            "http://a.b.example.com:99/",
            "http://dotted.org/",
            "http://x.dotted.org/",
            "http://internal.net:8080/",
            "http://10.255.1.2/",
            "http://192.168.1.7:5/",
            "http://[fd12::1]/",
            "http://[::1]:8000/",
            "http://a.star.io/",
        ] {
            assert_eq!(pick(&proxies, url), None, "{url}");
        }
        for url in [
            "http://notexample.com/",
            "http://example.com.evil.org/",
            "http://internal.net/",
            "http://11.0.0.1/",
            "http://192.168.1.8/",
            "http://[fe80::1]/",
            "http://host/",
        ] {
            assert!(pick(&proxies, url).is_some(), "{url}");
        }
    }

    #[test]
    fn a_bad_proxy_is_an_error_that_does_not_show_it() {
        for value in [
            "ftp://user:hunter2@host",
            "http://user:hunter2@",
            "socks5h://hunter2@:99999",
        ] {
            let env = |name: &str| (name == "HTTPS_PROXY").then(|| value.to_owned());
            let error = Proxies::from_env(&env).err().unwrap();
            assert_eq!(error.code(), "bad_setting");
            assert!(error.to_string().starts_with("HTTPS_PROXY"), "{error}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}
