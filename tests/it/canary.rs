//! Secrets in every slot, requests over every path on which something fails, at the most talkative level, and then every output is
//! searched for each of them: as it is, in base64, percent-encoded, in hex. What an upstream sends back of its own request is that
//! upstream's doing, and goes to that one client; nothing else of it may be seen either.
