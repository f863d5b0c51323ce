//! OpenID Connect: who somebody is, by the word of an issuer.
//!
//! Two ways lead here. A *browser* logs in (authorization code with PKCE, OpenID Connect Core 1.0 §3.1) and carries a sealed
//! session in cookies from then on. A *program* shows a JWT that an issuer made for us (RFC 9068, RFC 8725), as
//! `authorization: Bearer`.
