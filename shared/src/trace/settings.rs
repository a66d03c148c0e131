//! OpenTelemetry's own variables, as far as they are honoured.

use std::time::Duration;

/// The longest value of one variable that is read.
const LONGEST: usize = 8 * 1024;

/// Where spans go, and which.
#[derive(Clone, PartialEq)]
pub struct Settings {
    /// The address that spans are posted to.
    pub(super) address: String,
    /// Further headers, such as a collector's key.
    pub(super) headers: Vec<(String, String)>,
    /// How long one post may take.
    pub(super) timeout: Duration,
    pub(super) sampler: Sampler,
    /// What is said of the process, `service.name` first.
    pub(super) resource: Vec<(String, String)>,
}

/// Which traces are recorded when this process begins them; what a client began is as it says, unless the
/// sampler does not care.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Sampler {
    pub by_parent: bool,
    /// Of new traces, 0 to 1.
    pub ratio: f64,
}

/// A variable that cannot be honoured.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} is {value:?}; {expected}")]
pub struct SettingsError {
    name: &'static str,
    value: String,
    expected: &'static str,
}

impl Settings {
    /// Reads the variables; `None` when there is no collector, or traces are switched off.
    ///
    /// # Errors
    /// A variable with a value that makes no sense here.
    pub fn from_env(
        service: &str,
        lookup: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, SettingsError> {
        let lookup = |name: &str| lookup(name).filter(|v| !v.trim().is_empty() && v.len() <= LONGEST);
        let either = |special: &str, general: &str| lookup(special).or_else(|| lookup(general));
        let off = lookup("OTEL_SDK_DISABLED").is_some_and(|v| v.eq_ignore_ascii_case("true"))
            || lookup("OTEL_TRACES_EXPORTER").is_some_and(|v| v == "none");
        let address = lookup("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").or_else(|| {
            let base = lookup("OTEL_EXPORTER_OTLP_ENDPOINT")?;
            Some(format!("{}/v1/traces", base.trim().trim_end_matches('/')))
        });
        let (false, Some(address)) = (off, address) else { return Ok(None) };
        if !address.starts_with("http://") && !address.starts_with("https://") {
            let expected = "it must be an http:// or https:// address";
            return Err(SettingsError { name: "OTEL_EXPORTER_OTLP_ENDPOINT", value: address, expected });
        }
        let protocol = either("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL");
        if let Some(value) = protocol.filter(|protocol| protocol == "grpc") {
            let expected = "spans are sent as http/json, to the collector's HTTP port (4318)";
            return Err(SettingsError { name: "OTEL_EXPORTER_OTLP_PROTOCOL", value, expected });
        }
        let timeout = either("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT");
        let millis = timeout.and_then(|text| text.parse().ok()).unwrap_or(10_000);
        let headers = either("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS");
        let service = lookup("OTEL_SERVICE_NAME").unwrap_or_else(|| service.to_owned());
        let mut resource = vec![("service.name".to_owned(), service)];
        let further = pairs(&lookup("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default());
        resource.extend(further.into_iter().filter(|(name, _)| name != "service.name"));
        resource.push(("service.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()));
        Ok(Some(Self {
            address,
            headers: pairs(&headers.unwrap_or_default()),
            timeout: Duration::from_millis(millis),
            sampler: sampler(lookup("OTEL_TRACES_SAMPLER"), lookup("OTEL_TRACES_SAMPLER_ARG"))?,
            resource,
        }))
    }

    /// Says one more thing of the process.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.resource.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// Without the headers, which hold keys.
impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { address, timeout, sampler, resource, .. } = self;
        let mut shown = f.debug_struct("Settings");
        shown.field("address", address).field("timeout", timeout).field("sampler", sampler);
        shown.field("resource", resource).finish_non_exhaustive()
    }
}

fn sampler(name: Option<String>, argument: Option<String>) -> Result<Sampler, SettingsError> {
    let name = name.unwrap_or_else(|| "parentbased_always_on".to_owned());
    let kind = name.strip_prefix("parentbased_");
    let ratio = match kind.unwrap_or(&name) {
        "always_on" => 1.0,
        "always_off" => 0.0,
        "traceidratio" => match argument.as_deref().map_or(Ok(1.0), str::parse) {
            Ok(ratio) if (0.0..=1.0).contains(&ratio) => ratio,
            _ => {
                let value = argument.unwrap_or_default();
                let expected = "it must be a number from 0 to 1";
                return Err(SettingsError { name: "OTEL_TRACES_SAMPLER_ARG", value, expected });
            }
        },
        _ => {
            let expected = "always_on, always_off and traceidratio are known, each also after parentbased_";
            return Err(SettingsError { name: "OTEL_TRACES_SAMPLER", value: name, expected });
        }
    };
    Ok(Sampler { by_parent: kind.is_some(), ratio })
}

/// `name=value,name=value`, values percent-encoded.
fn pairs(text: &str) -> Vec<(String, String)> {
    let pair = |part: &str| {
        let (name, value) = part.split_once('=')?;
        Some((name.trim().to_owned(), decoded(value.trim())))
    };
    text.split(',').filter_map(pair).filter(|(name, _)| !name.is_empty()).collect()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = after.get(..2).filter(|_| *first == b'%').and_then(|two| std::str::from_utf8(two).ok());
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(variables: &[(&str, &str)]) -> Result<Option<Settings>, SettingsError> {
        let find = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        Settings::from_env("stageline-worker", find)
    }

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318/");

    #[test]
    fn nothing_is_exported_unless_a_collector_is_named() {
        assert_eq!(from(&[]), Ok(None));
        assert_eq!(from(&[ENDPOINT, ("OTEL_SDK_DISABLED", "true")]), Ok(None));
        assert_eq!(from(&[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")]), Ok(None));
        let settings = from(&[ENDPOINT]).unwrap().unwrap();
        assert_eq!(settings.address, "http://127.0.0.1:4318/v1/traces");
        assert_eq!(settings.resource[0].1, "stageline-worker");
    }

    #[test]
    fn the_variables_mean_what_they_mean_elsewhere() {
        let settings = from(&[
            ENDPOINT,
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://c.example/t"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=a%20b%3D, other = c"),
            ("OTEL_SERVICE_NAME", "mine"),
            ("OTEL_RESOURCE_ATTRIBUTES", "service.name=not,deployment.environment=test"),
            ("OTEL_TRACES_SAMPLER", "traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "250"),
        ]);
        let settings = settings.unwrap().unwrap();
        assert_eq!(settings.address, "https://c.example/t");
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(settings.headers, [pair("x-key", "a b="), pair("other", "c")]);
        assert_eq!(
            settings.resource[..2],
            [pair("service.name", "mine"), pair("deployment.environment", "test")]
        );
        assert_eq!(settings.sampler, Sampler { by_parent: false, ratio: 0.25 });
        assert_eq!(settings.timeout, Duration::from_millis(250));
        assert!(!format!("{settings:?}").contains("a b="), "keys are not printed");
    }

    #[test]
    fn what_cannot_be_honoured_is_named() {
        for (name, value) in [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "127.0.0.1:4317"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_TRACES_SAMPLER", "jaeger_remote"),
        ] {
            let error = from(&[(name, value), ENDPOINT]).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(value), "{error}");
        }
    }
}
