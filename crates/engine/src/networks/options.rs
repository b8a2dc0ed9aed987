//! Driver options (`network create -o`): Docker's names, and what each means here.

use super::request::CreateNetwork;
use crate::EngineError;
use network::{GatewayMode, IpvlanFlag, IpvlanMode, LanKind, MacvlanMode};
use std::collections::BTreeMap;
use std::net::IpAddr;

const BRIDGE: &str = "com.docker.network.bridge.";
const DOCKER: &str = "com.docker.network.";

/// What a bridge's options say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BridgeOptions {
    /// What the host's link is called.
    pub(super) name: Option<String>,
    pub(super) mtu: Option<u32>,
    pub(super) between_endpoints: bool,
    pub(super) masquerade: bool,
    pub(super) host_binding: Option<IpAddr>,
    pub(super) link_prefix: Option<String>,
    pub(super) gateway_mode: GatewayMode,
    pub(super) gateway_mode6: GatewayMode,
}

/// Reads the options of a bridge. One of Docker's that is not known here is refused: what was asked for would not be.
pub(super) fn bridge(options: &BTreeMap<String, String>) -> Result<BridgeOptions, EngineError> {
    let mut read = BridgeOptions {
        name: None,
        mtu: None,
        between_endpoints: true,
        masquerade: true,
        host_binding: None,
        link_prefix: None,
        gateway_mode: GatewayMode::default(),
        gateway_mode6: GatewayMode::default(),
    };
    for (key, value) in options {
        let Some(short) = key.strip_prefix(DOCKER) else {
            // Others' options mean nothing to a bridge; Docker keeps them, too.
            continue;
        };
        match short {
            "bridge.name" => read.name = Some(value.clone()).filter(|name| !name.is_empty()),
            "bridge.enable_icc" => read.between_endpoints = truth(key, value)?,
            "bridge.enable_ip_masquerade" => read.masquerade = truth(key, value)?,
            "bridge.host_binding_ipv4" | "bridge.host_binding_ip" => {
                let address = value
                    .parse()
                    .map_err(|_no_address| wrong(key, value, "it is no address of the host's"))?;
                read.host_binding = Some(address);
            }
            "bridge.gateway_mode_ipv4" => read.gateway_mode = gateway_mode(key, value)?,
            "bridge.gateway_mode_ipv6" => read.gateway_mode6 = gateway_mode(key, value)?,
            "container_iface_prefix" => read.link_prefix = Some(link_prefix(key, value)?),
            "driver.mtu" => read.mtu = mtu(key, value)?,
            _ if is_switch(key) => {}
            _ => {
                return Err(EngineError::Invalid {
                    message: format!("unknown driver option '{key}'"),
                    hint: Some(format!(
                        "a bridge has {BRIDGE}name, enable_icc, enable_ip_masquerade, host_binding_ipv4, gateway_mode_ipv4, and {DOCKER}driver.mtu, {DOCKER}container_iface_prefix"
                    )),
                });
            }
        }
    }
    Ok(read)
}

impl CreateNetwork {
    /// Returns the names of options that are of Docker's and mean nothing here.
    pub fn unknown_options(&self) -> Vec<&str> {
        let names = self.options.keys().map(String::as_str);
        names.filter(|key| !is_known(&self.driver, key)).collect()
    }

    /// Returns the options that are to be read.
    pub(super) fn known_options(&self) -> BTreeMap<String, String> {
        let mut options = self.options.clone();
        if self.ignores_unknown {
            options.retain(|key, _| is_known(&self.driver, key));
        }
        options
    }
}

/// Says whether an option means something to a driver, or to nobody: only names of Docker's can be unknown.
fn is_known(driver: &str, key: &str) -> bool {
    let Some(short) = key.strip_prefix(DOCKER) else {
        return true;
    };
    let of_bridges = matches!(
        short,
        "bridge.name"
            | "bridge.enable_icc"
            | "bridge.enable_ip_masquerade"
            | "bridge.host_binding_ipv4"
            | "bridge.host_binding_ip"
            | "bridge.gateway_mode_ipv4"
            | "bridge.gateway_mode_ipv6"
    );
    is_switch(key)
        || matches!(short, "container_iface_prefix" | "driver.mtu")
        || (driver == "bridge" && of_bridges)
}

/// Returns the request with what older clients write as options instead of `--ipv6` and `--internal`.
pub(super) fn switches(request: &CreateNetwork) -> Result<CreateNetwork, EngineError> {
    let mut meant = request.clone();
    for (key, value) in &request.options {
        match key.strip_prefix(DOCKER) {
            Some("enable_ipv4") => meant.ipv4 = truth(key, value)?,
            Some("enable_ipv6") => meant.ipv6 = truth(key, value)?,
            Some("internal") => meant.internal = truth(key, value)?,
            _ => {}
        }
    }
    Ok(meant)
}

/// Says whether an option is of the network, whichever its driver: see [`switches`].
fn is_switch(key: &str) -> bool {
    matches!(
        key.strip_prefix(DOCKER),
        Some("enable_ipv4" | "enable_ipv6" | "internal")
    )
}

/// What the options of a macvlan or ipvlan network say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LanOptions {
    /// The host's link.
    pub(super) parent: Option<String>,
    pub(super) kind: LanKind,
    pub(super) mtu: Option<u32>,
    pub(super) link_prefix: Option<String>,
}

/// Reads the options of a network on one of the host's links.
pub(super) fn lan(driver: &str, options: &BTreeMap<String, String>) -> Result<LanOptions, EngineError> {
    let is_macvlan = driver == "macvlan";
    let mut read = LanOptions {
        parent: None,
        kind: if is_macvlan {
            LanKind::Macvlan(MacvlanMode::default())
        } else {
            LanKind::Ipvlan(IpvlanMode::default(), IpvlanFlag::default())
        },
        mtu: None,
        link_prefix: None,
    };
    for (key, value) in options {
        match (key.as_str(), &mut read.kind) {
            ("parent", _) => read.parent = Some(value.clone()).filter(|name| !name.is_empty()),
            ("macvlan_mode", LanKind::Macvlan(mode)) => {
                *mode = match value.as_str() {
                    "" | "bridge" => MacvlanMode::Bridge,
                    "passthru" => MacvlanMode::Passthru,
                    "private" => MacvlanMode::Private,
                    "vepa" => MacvlanMode::Vepa,
                    _ => {
                        return Err(mode_error(format!(
                            "requested macvlan mode '{value}' is not valid, 'bridge' mode is the macvlan driver default"
                        )));
                    }
                }
            }
            ("ipvlan_mode", LanKind::Ipvlan(mode, _)) => {
                *mode = match value.as_str() {
                    "" | "l2" => IpvlanMode::L2,
                    "l3" => IpvlanMode::L3,
                    "l3s" => IpvlanMode::L3s,
                    _ => {
                        return Err(mode_error(format!(
                            "requested ipvlan mode '{value}' is not valid, 'l2' mode is the ipvlan driver default"
                        )));
                    }
                }
            }
            ("ipvlan_flag", LanKind::Ipvlan(_, flag)) => {
                *flag = match value.as_str() {
                    "" | "bridge" => IpvlanFlag::Bridge,
                    "private" => IpvlanFlag::Private,
                    "vepa" => IpvlanFlag::Vepa,
                    _ => {
                        return Err(mode_error(format!(
                            "requested ipvlan flag '{value}' is not valid, 'bridge' is the ipvlan driver default"
                        )));
                    }
                }
            }
            ("com.docker.network.driver.mtu", _) => read.mtu = mtu(key, value)?,
            ("com.docker.network.container_iface_prefix", _) => {
                read.link_prefix = Some(link_prefix(key, value)?);
            }
            (key, _) if is_switch(key) => {}
            (key, _) if key.starts_with(DOCKER) => {
                return Err(EngineError::Invalid {
                    message: format!("unknown driver option '{key}'"),
                    hint: Some(format!(
                        "{driver} has parent, {driver}_mode and {DOCKER}driver.mtu"
                    )),
                });
            }
            _ => {}
        }
    }
    Ok(read)
}

fn gateway_mode(key: &str, value: &str) -> Result<GatewayMode, EngineError> {
    match value {
        "" | "nat" => Ok(GatewayMode::Nat),
        "isolated" => Ok(GatewayMode::Isolated),
        "nat-unprotected" => Ok(GatewayMode::NatUnprotected),
        "routed" => Ok(GatewayMode::Routed),
        _ => Err(wrong(
            key,
            value,
            "it is isolated, nat, nat-unprotected or routed",
        )),
    }
}

/// Go's words for true and false.
fn truth(key: &str, value: &str) -> Result<bool, EngineError> {
    match value {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Ok(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Ok(false),
        _ => Err(wrong(key, value, "it is true or false")),
    }
}

/// 0 is none asked for.
fn mtu(key: &str, value: &str) -> Result<Option<u32>, EngineError> {
    match value.parse() {
        Ok(0) => Ok(None),
        // No frame is longer, and no IPv4 host must take less (RFC 791).
        Ok(mtu @ 68..=65535) => Ok(Some(mtu)),
        _ => Err(wrong(key, value, "it is 68 to 65535")),
    }
}

/// A number comes behind it, and the kernel takes 15 bytes.
fn link_prefix(key: &str, value: &str) -> Result<String, EngineError> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if value.is_empty() || value.len() > 12 || !value.bytes().all(good) {
        return Err(wrong(key, value, "it is up to 12 letters, digits, '-' and '_'"));
    }
    Ok(value.to_owned())
}

fn wrong(key: &str, value: &str, what: &str) -> EngineError {
    EngineError::Invalid {
        message: format!("invalid value for driver option '{key}': '{value}'"),
        hint: Some(what.to_owned()),
    }
}

fn mode_error(message: String) -> EngineError {
    EngineError::Invalid { message, hint: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_older_clients_write_as_options_is_meant() {
        let with = |key: &str, value: &str| {
            switches(&CreateNetwork {
                options: [(key.to_owned(), value.to_owned())].into(),
                ..CreateNetwork::default()
            })
        };
        assert!(with("com.docker.network.enable_ipv6", "true").unwrap().ipv6);
        assert!(!with("com.docker.network.enable_ipv6", "0").unwrap().ipv6);
        assert!(with("com.docker.network.internal", "true").unwrap().internal);
        assert!(!with("com.docker.network.enable_ipv4", "false").unwrap().ipv4);
        assert!(with("com.docker.network.enable_ipv6", "perhaps").is_err());
    }

    fn options(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn a_bridge_has_dockers_options() {
        let read = bridge(&options(&[
            ("com.docker.network.bridge.name", "br0"),
            ("com.docker.network.bridge.enable_icc", "false"),
            ("com.docker.network.bridge.enable_ip_masquerade", "0"),
            ("com.docker.network.bridge.host_binding_ipv4", "127.0.0.1"),
            ("com.docker.network.driver.mtu", "1280"),
            ("com.docker.network.bridge.gateway_mode_ipv6", "routed"),
            ("com.docker.network.container_iface_prefix", "net"),
            ("org.example.note", "kept"),
        ]))
        .unwrap();
        assert_eq!(
            read,
            BridgeOptions {
                name: Some("br0".into()),
                mtu: Some(1280),
                between_endpoints: false,
                masquerade: false,
                host_binding: Some("127.0.0.1".parse().unwrap()),
                link_prefix: Some("net".into()),
                gateway_mode: GatewayMode::Nat,
                gateway_mode6: GatewayMode::Routed,
            }
        );
        for (key, value) in [
            ("com.docker.network.bridge.enable_icc", "perhaps"),
            ("com.docker.network.bridge.host_binding_ipv4", "localhost"),
            ("com.docker.network.bridge.gateway_mode_ipv4", "odd"),
            ("com.docker.network.driver.mtu", "67"),
            ("com.docker.network.container_iface_prefix", "../x"),
            ("com.docker.network.nonsense", "1"),
        ] {
            assert!(bridge(&options(&[(key, value)])).is_err(), "{key}={value}");
        }
    }

    #[test]
    fn what_is_unknown_is_left_aside_where_that_is_wanted() {
        let mut request = CreateNetwork {
            options: options(&[
                ("com.docker.network.bridge.inhibit_ipv4", "true"),
                ("com.docker.network.bridge.enable_icc", "true"),
                ("com.docker.network.driver.mtu", "1400"),
                ("com.docker.network.enable_ipv4", "true"),
                ("org.example.note", "kept"),
            ]),
            ..CreateNetwork::default()
        };
        assert_eq!(
            request.unknown_options(),
            ["com.docker.network.bridge.inhibit_ipv4"]
        );
        assert!(bridge(&request.known_options()).is_err());
        request.ignores_unknown = true;
        assert!(bridge(&request.known_options()).is_ok());
        // Every option that is read is known.
        request.driver = "macvlan".into();
        assert!(lan("macvlan", &request.known_options()).is_ok());
    }

    #[test]
    fn a_lan_has_a_mode() {
        let read = lan(
            "ipvlan",
            &options(&[
                ("parent", "eth0"),
                ("ipvlan_mode", "l3s"),
                ("ipvlan_flag", "vepa"),
            ]),
        );
        let read = read.unwrap();
        assert_eq!(read.parent.as_deref(), Some("eth0"));
        assert_eq!(read.kind, LanKind::Ipvlan(IpvlanMode::L3s, IpvlanFlag::Vepa));
        let error = lan("macvlan", &options(&[("macvlan_mode", "odd")])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "requested macvlan mode 'odd' is not valid, 'bridge' mode is the macvlan driver default"
        );
    }
}
