//! `pki reissue`: a new authority like another one.

use clap::Args;
use serde_json::{Map, Value};

use super::certificate::Issuer;
use super::{issue, template};
use crate::vault::connection::Connection;
use crate::vault::output::FormatFlag;
use crate::vault::path::sanitize;
use crate::vault::{Failure, Outcome, data};

/// Make an intermediate authority like another one, and have an issuer sign it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  vault pki reissue -issuer_name=next pki/issuer/root pki_int/issuer/web pki_int
  vault pki reissue -type=existing pki/issuer/root pki_int/issuer/web pki_int ttl=4380h")]
pub(in crate::vault) struct Reissue {
    /// The issuer that signs, such as `pki/issuer/root`
    parent: String,
    /// The issuer whose certificate the new one is like
    template: String,
    /// The mount that the new authority belongs to
    child_mount: String,
    /// `key=value` in place of what the template has
    options: Vec<String>,
    /// What the new issuer is called
    #[arg(
        long = "issuer_name",
        value_name = "NAME",
        default_value = "",
        hide_default_value = true
    )]
    issuer_name: String,
    /// `internal` for a new key, `existing` for the template's
    #[arg(long = "type", value_name = "KIND", default_value = "internal")]
    kind: String,
    #[command(flatten)]
    format: FormatFlag,
    #[command(flatten)]
    connection: Connection,
}

impl Reissue {
    pub(super) async fn run(&self) -> Outcome {
        let format = self.format.resolve()?;
        let client = self.connection.client()?;
        let said = data::parse(&self.options, !self.connection.non_interactive)?;
        let path = sanitize(&self.template);
        let failed =
            |text: String| Failure::Usage(format!("Error fetching template certificate {text}"));
        let issuer = Issuer::read(&client, path).await.map_err(failed)?;
        let options = like(&issuer, self.kind == "existing", said);
        let options = options.map_err(|text| Failure::Usage(format!("{path}: {text}")))?;
        let new = issue::New {
            parent: sanitize(&self.parent),
            mount: sanitize(&self.child_mount),
            kind: &self.kind,
            name: &self.issuer_name,
            options,
        };
        new.make(&client, format).await
    }
}

/// The parameters of an authority like `issuer`, but for what is `said`.
fn like(
    issuer: &Issuer,
    same_key: bool,
    said: Map<String, Value>,
) -> Result<Map<String, Value>, String> {
    let certificate = issuer.certificate.parse_x509();
    let certificate = certificate.map_err(|_| "the certificate cannot be read".to_owned())?;
    let mut options = template::parameters(&certificate);
    options.extend(match (same_key, &issuer.key_id) {
        (false, _) => template::new_key(&certificate)?,
        (true, Some(key)) => template::same_key(&certificate, key),
        (true, None) => return Err("its key is not in the mount".to_owned()),
    });
    if said.contains_key("not_after") {
        options.remove("ttl");
    }
    if said.get("key_type").is_some_and(|kind| Some(kind) != options.get("key_type")) {
        options.remove("key_bits");
    }
    options.extend(said);
    Ok(options)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const CERTIFICATE: &str = include_str!("reissue/template.pem");

    fn issuer(key_id: Option<&str>) -> Issuer {
        let mut data = json!({ "certificate": CERTIFICATE });
        data["key_id"] = key_id.into();
        Issuer::parse(data.as_object().unwrap()).unwrap()
    }

    #[test]
    fn a_template_gives_what_is_not_said() {
        let said = |value: Value| value.as_object().unwrap().clone();
        let new = like(&issuer(None), false, said(json!({ "ttl": "1h", "ou": "else" }))).unwrap();
        for (name, want) in [
            ("common_name", json!("Template CA")),
            ("organization", json!(["Example", "Other"])),
            ("country", json!(["CH"])),
            ("ou", json!("else")),
            ("ttl", json!("1h")),
            ("alt_names", json!("ca.example.com,ca@example.com")),
            ("ip_sans", json!("192.0.2.7,2001:db8::7")),
            ("uri_sans", json!("spiffe://example.com/ca")),
            ("permitted_dns_domains", json!("example.com,example.org")),
            ("exclude_cn_from_sans", json!(true)),
            ("max_path_length", json!(1)),
            ("key_type", json!("ec")),
            ("key_bits", json!(384)),
            ("signature_bits", json!(384)),
            ("use_pss", json!(false)),
        ] {
            assert_eq!(new[name], want, "{name}");
        }
        let other = like(&issuer(None), false, said(json!({ "key_type": "rsa" }))).unwrap();
        assert_eq!((other.get("key_bits"), &other["ttl"]), (None, &json!("2400h0m0s")));
        let until = like(&issuer(None), false, said(json!({ "not_after": "2030-01-01" }))).unwrap();
        assert_eq!(until.get("ttl"), None);
        let kept = like(&issuer(Some("id")), true, Map::new()).unwrap();
        assert_eq!((&kept["key_ref"], kept.get("key_type")), (&json!("id"), None));
        assert_eq!(kept["skid"].as_str().map(str::len), Some(40));
        assert!(like(&issuer(None), true, Map::new()).is_err());
    }
}
