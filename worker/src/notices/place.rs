//! Whether there is a metadata service to ask, and where.

use super::SpotNotices;

const IPV4: &str = "http://169.254.169.254";
const IPV6: &str = "http://[fd00:ec2::254]";
/// Readable for everybody: who made the machine (Nitro), and the id of a guest of Xen.
const VENDOR: &str = "/sys/class/dmi/id/sys_vendor";
const XEN: &str = "/sys/hypervisor/uuid";

/// The service's address; `None` where it is not to be asked. `variable` and `file` read the environment and the
/// machine.
pub(super) fn endpoint(
    wanted: SpotNotices,
    variable: impl Fn(&str) -> Option<String>,
    file: impl Fn(&str) -> Option<String>,
) -> Option<String> {
    let is = |name: &str, value: &str| variable(name).is_some_and(|v| v.trim().eq_ignore_ascii_case(value));
    if wanted == SpotNotices::Off || is("AWS_EC2_METADATA_DISABLED", "true") {
        return None;
    }
    let named = variable("AWS_EC2_METADATA_SERVICE_ENDPOINT").filter(|named| !named.trim().is_empty());
    if let Some(named) = named {
        return Some(named.trim().to_owned());
    }
    let on_ec2 = || {
        file(VENDOR).is_some_and(|vendor| vendor.trim() == "Amazon EC2")
            || file(XEN).is_some_and(|uuid| uuid.starts_with("ec2"))
    };
    let asked = wanted == SpotNotices::On || on_ec2();
    let ipv6 = is("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "ipv6");
    asked.then(|| if ipv6 { IPV6 } else { IPV4 }.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(wanted: SpotNotices, variables: &[(&str, &str)], files: &[(&str, &str)]) -> Option<String> {
        let of = |table: &[(&str, &str)], name: &str| {
            table.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        endpoint(wanted, |name| of(variables, name), |path| of(files, path))
    }

    #[test]
    fn by_itself_only_a_machine_of_ec2_is_asked() {
        use SpotNotices::{Auto, Off, On};
        let nitro = [(VENDOR, "Amazon EC2\n")];
        let disabled = [("AWS_EC2_METADATA_DISABLED", "TRUE")];
        let named = [("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1338")];
        let ipv6 = [("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "IPv6")];
        assert_eq!(found(Auto, &[], &[]), None);
        assert_eq!(found(Auto, &[], &[(VENDOR, "QEMU\n"), (XEN, "0000")]), None);
        assert_eq!(found(Auto, &[], &nitro).as_deref(), Some(IPV4));
        assert_eq!(found(Auto, &[], &[(XEN, "ec2abc")]).as_deref(), Some(IPV4));
        assert_eq!(found(Auto, &ipv6, &nitro).as_deref(), Some(IPV6));
        assert_eq!(found(On, &[], &[]).as_deref(), Some(IPV4));
        assert_eq!(found(Auto, &named, &[]).as_deref(), Some("http://127.0.0.1:1338"));
        for wanted in [Auto, On] {
            assert_eq!(found(wanted, &disabled, &nitro), None);
        }
        assert_eq!(found(Off, &named, &nitro), None);
    }
}
