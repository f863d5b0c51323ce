//! `client_credentials`: RFC 6749 §4.4. Nobody logs in, and there is nothing to refresh with: another token is asked for.

use super::call::Call;
use super::{ClientCredentials, Grant};

/// RFC 6749 §4.4.2.
pub(super) fn token(own: &ClientCredentials, grant: &Grant) -> Option<Call> {
    let Grant::ClientCredentials = grant else { return None };
    let scope = own.scopes.join(" ");
    let mut fields = vec![("grant_type", "client_credentials")];
    if !scope.is_empty() {
        fields.push(("scope", &scope));
    }
    Some(Call::form(&own.token_url, &fields).by_basic(&own.client_id, &own.client_secret))
}
