//! `network create --subnet --ip-range --gateway --aux-address`: which range, gateway and address belongs to which
//! subnet is found by what lies in what.

use super::{Invalid, invalid};
use engine::networks::request::Pool;
use ipnet::IpNet;
use std::net::IpAddr;

/// Puts the flags together, in the order of the subnets.
pub(crate) fn pools(
    subnets: &[String],
    ranges: &[IpNet],
    gateways: &[IpAddr],
    auxiliary: &[(String, String)],
) -> Result<Vec<Pool>, Invalid> {
    if subnets.len() < ranges.len() || subnets.len() < gateways.len() {
        return invalid("every ip-range or gateway must have a corresponding subnet");
    }
    let mut pools: Vec<(IpNet, Pool)> = Vec::new();
    for text in subnets {
        let subnet = subnet(text)?;
        if pools.iter().any(|(other, _)| overlap(*other, subnet)) {
            return invalid("multiple overlapping subnet configuration is not supported");
        }
        let pool = Pool {
            subnet: Some(subnet),
            ..Pool::default()
        };
        pools.push((subnet, pool));
    }
    for range in ranges {
        let Some((subnet, pool)) = of(&mut pools, range.addr()) else {
            return invalid(format!("no matching subnet for range {range}"));
        };
        if let Some(other) = pool.range.replace(*range) {
            return invalid(format!(
                "cannot configure multiple ranges ({range}, {other}) on the same subnet ({subnet})"
            ));
        }
    }
    for gateway in gateways {
        let Some((subnet, pool)) = of(&mut pools, *gateway) else {
            return invalid(format!("no matching subnet for gateway {gateway}"));
        };
        if let Some(other) = pool.gateway.replace(*gateway) {
            return invalid(format!(
                "cannot configure multiple gateways ({gateway}, {other}) for the same subnet ({subnet})"
            ));
        }
    }
    for (name, text) in auxiliary {
        let found = text
            .parse()
            .ok()
            .and_then(|address| Some((address, of(&mut pools, address)?)));
        let Some((address, (_, pool))) = found else {
            return invalid(format!("no matching subnet for aux-address {text}"));
        };
        pool.auxiliary.insert(name.clone(), address);
    }
    Ok(pools.into_iter().map(|(_, pool)| pool).collect())
}

/// The pool whose subnet an address is in.
fn of(pools: &mut [(IpNet, Pool)], address: IpAddr) -> Option<&mut (IpNet, Pool)> {
    pools.iter_mut().find(|(subnet, _)| subnet.contains(&address))
}

fn subnet(text: &str) -> Result<IpNet, Invalid> {
    match text.trim().parse() {
        Ok(subnet) => Ok(subnet),
        Err(_) => invalid(format!(
            "invalid network config: invalid subnet {text}: invalid CIDR block notation"
        )),
    }
}

fn overlap(one: IpNet, other: IpNet) -> bool {
    one.contains(&other.addr()) || other.contains(&one.addr())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(
        subnets: &[&str],
        ranges: &[&str],
        gateways: &[&str],
        auxiliary: &[(&str, &str)],
    ) -> Result<Vec<Pool>, String> {
        let subnets: Vec<String> = subnets.iter().map(|&text| text.into()).collect();
        let ranges: Vec<IpNet> = ranges.iter().map(|text| text.parse().unwrap()).collect();
        let gateways: Vec<IpAddr> = gateways.iter().map(|text| text.parse().unwrap()).collect();
        let pair = |&(name, text): &(&str, &str)| (name.to_owned(), text.to_owned());
        let auxiliary: Vec<_> = auxiliary.iter().map(pair).collect();
        pools(&subnets, &ranges, &gateways, &auxiliary).map_err(|Invalid(message)| message)
    }

    #[test]
    fn everything_finds_its_subnet() {
        let found = made(
            &["10.1.0.0/16", "fd00:1::/64"],
            &["fd00:1::1:0/112", "10.1.2.0/24"],
            &["10.1.0.9", "fd00:1::9"],
            &[("printer", "10.1.0.5"), ("scanner", "fd00:1::5")],
        )
        .unwrap();
        let expected = [
            Pool {
                subnet: Some("10.1.0.0/16".parse().unwrap()),
                range: Some("10.1.2.0/24".parse().unwrap()),
                gateway: Some("10.1.0.9".parse().unwrap()),
                auxiliary: [("printer".to_owned(), "10.1.0.5".parse().unwrap())].into(),
            },
            Pool {
                subnet: Some("fd00:1::/64".parse().unwrap()),
                range: Some("fd00:1::1:0/112".parse().unwrap()),
                gateway: Some("fd00:1::9".parse().unwrap()),
                auxiliary: [("scanner".to_owned(), "fd00:1::5".parse().unwrap())].into(),
            },
        ];
        assert_eq!(found, expected);
        assert_eq!(made(&[], &[], &[], &[]), Ok(Vec::new()));
    }

    #[test]
    fn what_has_no_subnet_is_refused_in_dockers_words() {
        for (found, message) in [
            (
                made(&[], &["10.0.0.0/24"], &[], &[]),
                "every ip-range or gateway must have a corresponding subnet",
            ),
            (
                made(&[], &[], &["10.0.0.1"], &[]),
                "every ip-range or gateway must have a corresponding subnet",
            ),
            (
                made(&["10.0.0.0/8", "10.1.0.0/16"], &[], &[], &[]),
                "multiple overlapping subnet configuration is not supported",
            ),
            (
                made(&["10.1.0.0/16"], &["10.2.0.0/24"], &[], &[]),
                "no matching subnet for range 10.2.0.0/24",
            ),
            (
                made(&["10.1.0.0/16"], &[], &["10.2.0.1"], &[]),
                "no matching subnet for gateway 10.2.0.1",
            ),
            (
                made(&["10.1.0.0/16"], &[], &[], &[("a", "10.2.0.1")]),
                "no matching subnet for aux-address 10.2.0.1",
            ),
            (
                made(
                    &["10.1.0.0/16", "10.2.0.0/16"],
                    &[],
                    &["10.1.0.1", "10.1.0.2"],
                    &[],
                ),
                "cannot configure multiple gateways (10.1.0.2, 10.1.0.1) for the same subnet (10.1.0.0/16)",
            ),
            (
                made(
                    &["10.1.0.0/16", "10.2.0.0/16"],
                    &["10.1.1.0/24", "10.1.2.0/24"],
                    &[],
                    &[],
                ),
                "cannot configure multiple ranges (10.1.2.0/24, 10.1.1.0/24) on the same subnet (10.1.0.0/16)",
            ),
            (
                made(&["foo"], &[], &[], &[]),
                "invalid network config: invalid subnet foo: invalid CIDR block notation",
            ),
        ] {
            assert_eq!(found.unwrap_err(), message);
        }
    }
}
