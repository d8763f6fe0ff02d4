//! HTTP Digest access authentication (RFC 7616): the answer to a challenge.
//!
//! The crates for it bring a second generation of hashes and a random generator with them; the number that the client chooses
//! is derived here from what only the client knows and from the challenge, so it is different for each and nobody foresees it.

use super::auth::Known;
use aos_format::digest::{Digest, hex};
use md5::Md5;
use sha2::{Digest as _, Sha256, Sha512_256};

/// Longest header that is read.
const HEADER_BYTES_MAX: usize = 8 << 10;

/// A way to hash, the strongest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Algorithm {
    Sha512,
    Sha256,
    Md5,
}

impl Algorithm {
    const ALL: [(Algorithm, &'static str); 3] = [
        (Algorithm::Sha512, "SHA-512-256"),
        (Algorithm::Sha256, "SHA-256"),
        (Algorithm::Md5, "MD5"),
    ];

    fn hash(self, text: &str) -> String {
        self.hash_bytes(text.as_bytes())
    }

    fn hash_bytes(self, bytes: &[u8]) -> String {
        match self {
            Algorithm::Sha512 => hex(&Sha512_256::digest(bytes)),
            Algorithm::Sha256 => hex(&Sha256::digest(bytes)),
            Algorithm::Md5 => hex(&Md5::digest(bytes)),
        }
    }
}

/// What a server asks.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Challenge {
    algorithm: Algorithm,
    /// The hash of user and password is bound to this session.
    session: bool,
    /// The name as the server said it, to be said again.
    named: Option<String>,
    realm: String,
    nonce: String,
    opaque: Option<String>,
    /// `auth` or `auth-int`; none in the form of RFC 2069.
    quality: Option<&'static str>,
    hides_user: bool,
}

/// What is asked for.
pub(super) struct Asked<'a> {
    pub(super) method: &'a str,
    /// Path and query.
    pub(super) target: &'a str,
    pub(super) body: &'a [u8],
    pub(super) wire_key: &'a str,
}

/// The value of `authorization` that answers the strongest of the challenges; none when there is none that can be answered.
pub(super) fn answer<'h>(
    headers: impl Iterator<Item = &'h str>,
    asked: &Asked<'_>,
    login: &Known,
) -> Option<String> {
    let challenges = headers.filter(|header| header.len() <= HEADER_BYTES_MAX);
    let challenge = challenges
        .flat_map(challenges_of)
        .min_by_key(|c| c.algorithm)?;
    let secret = format!("{}\0{}", login.password, asked.wire_key);
    let nonce = challenge.nonce.as_bytes();
    let own = Digest::labelled("aos.http-digest.v1", &[secret.as_bytes(), nonce]).hex();
    Some(challenge.answered(asked, login, &own[..32]))
}

impl Challenge {
    fn of(parameters: &[(String, String)]) -> Option<Challenge> {
        let part = |name: &str| {
            let mut known = parameters.iter();
            let found = known.find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.clone())
        };
        let named = part("algorithm");
        let name = named.clone().unwrap_or_else(|| "MD5".into());
        let upper = name.to_ascii_uppercase();
        let (base, session) = match upper.strip_suffix("-SESS") {
            Some(base) => (base, true),
            None => (upper.as_str(), false),
        };
        let mut known = Algorithm::ALL.into_iter();
        let (algorithm, _) = known.find(|(_, name)| *name == base)?;
        let quality = match part("qop") {
            None => None,
            Some(offered) => {
                let mut known = ["auth", "auth-int"].into_iter();
                let offers =
                    |q: &&str| offered.split(',').any(|o| o.trim().eq_ignore_ascii_case(q));
                Some(known.find(offers)?)
            }
        };
        Some(Challenge {
            algorithm,
            session,
            named,
            realm: part("realm")?,
            nonce: part("nonce")?,
            opaque: part("opaque"),
            quality,
            hides_user: part("userhash").is_some_and(|said| said.eq_ignore_ascii_case("true")),
        })
    }

    fn answered(&self, asked: &Asked<'_>, login: &Known, own: &str) -> String {
        let hash = |text: String| self.algorithm.hash(&text);
        let (user, realm, nonce) = (&login.username, &self.realm, &self.nonce);
        let mut who = hash(format!("{user}:{realm}:{}", login.password));
        if self.session {
            who = hash(format!("{who}:{nonce}:{own}"));
        }
        let (method, target) = (asked.method, asked.target);
        let what = match self.quality {
            Some("auth-int") => {
                let body = self.algorithm.hash_bytes(asked.body);
                hash(format!("{method}:{target}:{body}"))
            }
            _ => hash(format!("{method}:{target}")),
        };
        let response = match self.quality {
            Some(quality) => hash(format!("{who}:{nonce}:00000001:{own}:{quality}:{what}")),
            None => hash(format!("{who}:{nonce}:{what}")),
        };
        let mut parts = match (self.hides_user, user.is_ascii()) {
            (true, _) => vec![format!("username=\"{}\"", hash(format!("{user}:{realm}")))],
            (false, true) => vec![format!("username={}", quoted(user))],
            (false, false) => {
                let mut encoded = String::new();
                super::request::percent_encode(user, &mut encoded);
                vec![format!("username*=UTF-8''{encoded}")]
            }
        };
        parts.push(format!("realm={}", quoted(realm)));
        parts.push(format!("uri={}", quoted(target)));
        if let Some(named) = &self.named {
            parts.push(format!("algorithm={named}"));
        }
        parts.push(format!("nonce={}", quoted(nonce)));
        if let Some(quality) = self.quality {
            parts.push(format!("nc=00000001, cnonce=\"{own}\", qop={quality}"));
        } else if self.session {
            parts.push(format!("cnonce=\"{own}\""));
        }
        parts.push(format!("response=\"{response}\""));
        if let Some(opaque) = &self.opaque {
            parts.push(format!("opaque={}", quoted(opaque)));
        }
        if self.hides_user {
            parts.push("userhash=true".into());
        }
        format!("Digest {}", parts.join(", "))
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The digest challenges in one header, which may hold those of other schemes too.
fn challenges_of(header: &str) -> Vec<Challenge> {
    let mut found = Vec::new();
    let mut parameters: Option<Vec<(String, String)>> = None;
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let (name, after) = token(rest);
        if name.is_empty() {
            break;
        }
        let spaced = after.trim_start_matches([' ', '\t']);
        match spaced.strip_prefix('=') {
            // `name = value` belongs to the scheme before it; a lone `=` ends a token68.
            Some(value) if !value.starts_with(['=', ',']) && !value.is_empty() => {
                let (value, after) = value_of(value.trim_start_matches([' ', '\t']));
                if let Some(parameters) = &mut parameters {
                    parameters.push((name.to_owned(), value));
                }
                rest = after;
            }
            Some(padding) => rest = padding.trim_start_matches('='),
            None => {
                found.extend(parameters.take().as_deref().and_then(Challenge::of));
                parameters = name.eq_ignore_ascii_case("digest").then(Vec::new);
                rest = after;
            }
        }
        if parameters.as_ref().is_some_and(|known| known.len() > 32) {
            break;
        }
    }
    found.extend(parameters.as_deref().and_then(Challenge::of));
    found
}

/// A token, or the characters of a token68, and what comes after.
fn token(text: &str) -> (&str, &str) {
    let ends = |c: char| c.is_ascii_whitespace() || matches!(c, '=' | ',' | '"');
    text.split_at(text.find(ends).unwrap_or(text.len()))
}

/// A value, quoted or not, and what comes after.
fn value_of(text: &str) -> (String, &str) {
    let Some(inner) = text.strip_prefix('"') else {
        let (value, after) = token(text);
        return (value.to_owned(), after);
    };
    let (mut value, mut escaped) = (String::new(), false);
    for (at, c) in inner.char_indices() {
        match (escaped, c) {
            (false, '\\') => escaped = true,
            (false, '"') => return (value, &inner[at + 1..]),
            _ => {
                value.push(c);
                escaped = false;
            }
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(username: &str, password: &str) -> Known {
        Known {
            username: username.into(),
            password: password.into(),
            secrets: Vec::new(),
        }
    }

    const ASKED: Asked<'_> = Asked {
        method: "GET",
        target: "/dir/index.html",
        body: b"",
        wire_key: "k",
    };

    fn response(header: &str, own: &str, login: &Known) -> String {
        let all = challenges_of(header);
        assert_eq!(all.len(), 1, "{header}");
        let said = all[0].answered(&ASKED, login, own);
        let from = said.find("response=\"").unwrap() + 10;
        said[from..].split('"').next().unwrap().to_owned()
    }

    #[test]
    fn the_examples_of_the_rfcs_are_answered_as_they_say() {
        let mufasa = login("Mufasa", "Circle of Life");
        let own = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
        // RFC 7616, section 3.9.1.
        let challenge = |algorithm: &str| {
            format!(
                "Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", algorithm={algorithm}, \
                 nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""
            )
        };
        assert_eq!(
            response(&challenge("MD5"), own, &mufasa),
            "8ca523f5e9506fed4657c9700eebdbec"
        );
        assert_eq!(
            response(&challenge("SHA-256"), own, &mufasa),
            "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"
        );
        // RFC 2617, section 3.5, where the password has another form.
        let older = "Digest realm=\"testrealm@host.com\", qop=\"auth,auth-int\", \
                     nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", opaque=\"5ccc069c403ebaf9f0171e9517f40e41\"";
        assert_eq!(
            response(older, "0a4f113b", &login("Mufasa", "Circle Of Life")),
            "6629fae49393a05397450978507c4ef1"
        );
        // RFC 2069, section 2.4, with the correction of its erratum 749.
        let oldest = "Digest realm=\"testrealm@host.com\", nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", \
                      opaque=\"5ccc069c403ebaf9f0171e9517f40e41\"";
        assert_eq!(
            response(oldest, "", &login("Mufasa", "CircleOfLife")),
            "1949323746fe6a43ef61f9606e7febea"
        );
    }

    #[test]
    fn a_user_that_is_hidden_or_not_ascii_is_said_as_the_rfc_says() {
        // RFC 7616, section 3.9.2: the hash of the user there.
        let header = "Digest realm=\"api@example.org\", qop=\"auth\", algorithm=SHA-512-256, nonce=\"5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK\", \
                      opaque=\"HRPCssKJSGjCrkzDg8OhwpzCiGPChXYjwrI2QmXDnsOS\", charset=UTF-8, userhash=true";
        let known = login("J\u{e4}s\u{f8}n Doe", "Secret, or not?");
        let said = challenges_of(header)[0].answered(&ASKED, &known, "own");
        assert!(
            said.contains(
                "username=\"793263caabb707a56211940d90411ea4a575adeccb7e360aeb624ed06ece9b0b\""
            ),
            "{said}"
        );
        assert!(said.ends_with(", userhash=true"), "{said}");
        let shown = header.replace("userhash=true", "userhash=false");
        let said = challenges_of(&shown)[0].answered(&ASKED, &known, "own");
        assert!(
            said.contains("username*=UTF-8''J%C3%A4s%C3%B8n%20Doe, "),
            "{said}"
        );
    }

    #[test]
    fn the_strongest_of_several_challenges_is_answered_and_other_schemes_are_left() {
        let md5 = "Digest realm=\"a\", nonce=\"n\", algorithm=MD5";
        let header = format!(
            "Basic realm=\"x, Digest\", Negotiate a2V5==, {md5}, Digest realm=\"b\\\"c\", nonce=n2, algorithm=SHA-256-sess, qop=auth"
        );
        let found = challenges_of(&header);
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!((found[1].realm.as_str(), found[1].session), ("b\"c", true));
        let said = answer([header.as_str()].into_iter(), &ASKED, &login("u", "p")).unwrap();
        assert!(
            said.contains("realm=\"b\\\"c\"") && said.contains("algorithm=SHA-256-sess"),
            "{said}"
        );
        // Each challenge and each request has a number of its own.
        let own = |key, nonce: &str| {
            let header = md5.replace("nonce=\"n\"", &format!("qop=auth, nonce=\"{nonce}\""));
            let asked = Asked {
                wire_key: key,
                ..ASKED
            };
            answer([header.as_str()].into_iter(), &asked, &login("u", "p")).unwrap()
        };
        assert_ne!(own("k", "n"), own("l", "n"));
        assert_ne!(own("k", "n"), own("k", "m"));
        for none in [
            "",
            "Basic realm=\"a\"",
            "Digest",
            "Digest realm=\"a\"",
            "Digest realm=\"a\", nonce=\"n\", algorithm=X",
            "Digest realm=\"a\", nonce=\"n\", qop=\"other\"",
            "=,==,\"",
            "Digest ==",
        ] {
            assert_eq!(challenges_of(none), [], "{none}");
        }
    }

    #[test]
    fn the_body_is_covered_where_nothing_else_is_offered() {
        let header = "Digest realm=\"a\", nonce=\"n\", qop=\"auth-int\", algorithm=SHA-256";
        let with = |body| {
            let asked = Asked { body, ..ASKED };
            answer([header].into_iter(), &asked, &login("u", "p")).unwrap()
        };
        assert!(with(b"").contains("qop=auth-int"));
        assert_ne!(with(b""), with(b"x"));
    }
}
