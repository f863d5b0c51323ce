package countersign;

import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.Function;
import java.util.function.LongSupplier;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

/**
 * Verifies the requests that Countersign signs. One file, Java 17 or later, no dependency: copy it (and
 * {@code CountersignFilter.java} for servlets).
 *
 * <pre>{@code
 * var verifier = new Countersign(Countersign.Options.of("user-project-stamp", System.getenv("SIGN_TOKEN")).project("demo"));
 * Countersign.Identity who = verifier.verify("GET", "/api/userlist?x=1", name -> headers.get(name));   // throws Refused
 * }</pre>
 *
 * <p>What is checked, in this order: each header exactly once; the demonstration signature is refused; the user in
 * lower-case ASCII; a stamp of 13 digits within the window; project and app id as expected; the signature, in constant time,
 * under each token; and, with a {@link ReplayMemory}, that it has not been seen before.
 */
public final class Countersign {
  /** All there are. */
  public static final List<String> SCHEMES =
      List.of("user-stamp", "user-project-stamp", "user-project-appid-stamp", "hmac-sha256", "rfc9421");

  /** Who calls. {@code stamp} in milliseconds since 1970. */
  public record Identity(String user, String name, String project, String appId, long stamp) {}

  /** Why a request is not accepted. For the log, not for the client. */
  public static final class Refused extends Exception {
    private static final long serialVersionUID = 1;

    Refused(String why) {
      super(why);
    }
  }

  /** What is signed. {@code username} as it travels; {@code query} without "?"; {@code parameters} of rfc9421 alone. */
  public record Claims(
      String user, String username, String project, String appId, String stamp, String method, String authority,
      String path, String query, String prefix, String parameters) {}

  /** Remembers signatures for as long as they could be accepted again. For one process; for any number of threads. */
  public static final class ReplayMemory {
    private final Map<String, Long> seen = new HashMap<>();
    private final int most;

    public ReplayMemory(int most) {
      this.most = most;
    }

    /** Whether {@code sign} has not been seen. Full: nothing is new, so that nothing is let through unremembered. */
    public synchronized boolean isNew(String sign, long until, long now) {
      if (seen.size() >= most) {
        seen.values().removeIf(end -> end < now);
      }
      return seen.size() < most && seen.putIfAbsent(sign, until) == null;
    }
  }

  /**
   * What an upstream expects.
   *
   * @param tokens the sign token; two while it is being replaced
   * @param project null accepts any
   * @param appId null accepts any
   * @param windowMillis how old or how far ahead a stamp may be
   * @param prefix what the headers' names begin with
   * @param replay null: replays are not noticed
   * @param demo accept the demonstration signature of local debugging: only on a developer's own machine
   * @param clock milliseconds since 1970
   */
  public record Options(
      String scheme, List<String> tokens, String project, String appId, long windowMillis, String prefix,
      ReplayMemory replay, boolean demo, LongSupplier clock) {
    public static Options of(String scheme, String... tokens) {
      return new Options(scheme, List.of(tokens), null, null, 300_000, "x-kms-", null, false, System::currentTimeMillis);
    }

    public Options project(String project) {
      return new Options(scheme, tokens, project, appId, windowMillis, prefix, replay, demo, clock);
    }

    public Options appId(String appId) {
      return new Options(scheme, tokens, project, appId, windowMillis, prefix, replay, demo, clock);
    }

    public Options windowMillis(long windowMillis) {
      return new Options(scheme, tokens, project, appId, windowMillis, prefix, replay, demo, clock);
    }

    public Options prefix(String prefix) {
      return new Options(scheme, tokens, project, appId, windowMillis, prefix, replay, demo, clock);
    }

    public Options replay(ReplayMemory replay) {
      return new Options(scheme, tokens, project, appId, windowMillis, prefix, replay, demo, clock);
    }

    public Options demo(boolean demo) {
      return new Options(scheme, tokens, project, appId, windowMillis, prefix, replay, demo, clock);
    }

    public Options clock(LongSupplier clock) {
      return new Options(scheme, tokens, project, appId, windowMillis, prefix, replay, demo, clock);
    }
  }

  private static final Pattern USER = Pattern.compile("[\\x21-\\x40\\x5b-\\x7e]*");
  private static final Pattern STAMP = Pattern.compile("[1-9][0-9]{12}");
  private static final Pattern SIGNATURE = Pattern.compile("countersign=:([A-Za-z0-9+/]{43}=):");
  private static final List<String> NAMES = List.of("user", "username", "stamp", "appid", "project");

  private final Options options;
  private final String prefix;
  private final Pattern input;

  /** Fails on options that would protect nothing. */
  public Countersign(Options options) {
    if (!SCHEMES.contains(options.scheme())) {
      throw new IllegalArgumentException("the schemes are " + String.join(", ", SCHEMES));
    }
    boolean short_ = options.tokens().stream().anyMatch(token -> token.codePointCount(0, token.length()) < 31);
    if (options.tokens().isEmpty() || short_) {
      throw new IllegalArgumentException("a sign token has at least 31 characters");
    }
    this.options = options;
    prefix = options.prefix().toLowerCase(Locale.ROOT);
    StringBuilder listed = new StringBuilder("(\"@method\" \"@authority\" \"@path\" \"@query\"");
    NAMES.forEach(name -> listed.append(" \"").append(prefix).append(name).append('"'));
    // The only form that the signer gives to signature-input.
    input = Pattern.compile("countersign=(" + Pattern.quote(listed + ")") + ";created=([0-9]{1,12});expires=([0-9]{1,12})"
        + ";nonce=\"[A-Za-z0-9-]{1,64}\";keyid=\"([0-9a-f]{16})\";alg=\"hmac-sha256\";tag=\"countersign\")");
  }

  /** What the signer computes, as text. */
  public static String signature(String scheme, String token, Claims c) {
    return switch (scheme) {
      case "user-stamp" -> digest(c.user() + c.stamp() + token);
      case "user-project-stamp" -> digest(c.user() + c.project() + c.stamp() + token);
      case "user-project-appid-stamp" -> digest(c.user() + c.project() + c.appId() + c.stamp() + token);
      case "hmac-sha256" -> {
        StringBuilder base = new StringBuilder("countersign-hmac-sha256-1\n");
        for (String value : List.of(c.method(), c.path(), c.query(), c.user(), c.username(), c.project(), c.appId(), c.stamp())) {
          base.append(bytes(value).length).append(':').append(value).append('\n');
        }
        yield hex(mac(token, base.toString()));
      }
      case "rfc9421" -> {
        List<String> values = List.of(c.user(), c.username(), c.stamp(), c.appId(), c.project());
        StringBuilder base = new StringBuilder("\"@method\": " + c.method() + "\n\"@authority\": " + c.authority()
            + "\n\"@path\": " + c.path() + "\n\"@query\": ?" + c.query() + "\n");
        for (int at = 0; at < values.size(); at++) {
          base.append('"').append(c.prefix()).append(NAMES.get(at)).append("\": ").append(values.get(at)).append('\n');
        }
        base.append("\"@signature-params\": ").append(c.parameters());
        yield Base64.getEncoder().encodeToString(mac(token, base.toString()));
      }
      default -> throw new IllegalArgumentException(scheme);
    };
  }

  /** Names a token in {@code keyid} of rfc9421, and tells nothing of it. */
  public static String keyId(String token) {
    return digest("countersign-key:" + token).substring(0, 16);
  }

  /**
   * Who calls.
   *
   * @param target as it was received: path and query
   * @param headers all values of a header, by its name in lower case; null or empty when there is none
   */
  public Identity verify(String method, String target, Function<String, List<String>> headers) throws Refused {
    Map<String, String> fields = fields(headers);
    String user = fields.get("user");
    String stampText = fields.get("stamp");
    String sign = fields.getOrDefault("sign", "");
    boolean isStamp = STAMP.matcher(stampText).matches();
    long stamp = isStamp ? Long.parseLong(stampText) : 0;
    Identity identity =
        new Identity(user, unquote(fields.get("username")), fields.get("project"), fields.get("appid"), stamp);
    if (sign.equals("demo")) {
      if (options.demo()) {
        return identity;
      }
      throw new Refused("the demonstration signature proves nothing");
    }
    require(USER.matcher(user).matches(), "the user is not in lower-case ASCII");
    require(isStamp, "the stamp is not 13 digits");
    long now = options.clock().getAsLong();
    require(stamp >= now - options.windowMillis() && stamp <= now + options.windowMillis(), "the stamp is outside the window");
    require(options.project() == null || options.project().equals(identity.project()), "the request is for another project");
    require(options.appId() == null || options.appId().equals(identity.appId()), "the request is for another app id");
    int mark = target.indexOf('?');
    String path = mark < 0 ? target : target.substring(0, mark);
    String query = mark < 0 ? "" : target.substring(mark + 1);
    String authority = fields.getOrDefault("host", "").toLowerCase(Locale.ROOT);
    Claims claims = new Claims(user, fields.get("username"), identity.project(), identity.appId(), stampText, method,
        authority, path, query, prefix, "");
    if (options.scheme().equals("rfc9421")) {
      sign = message(fields, claims, now / 1000);
    } else {
      require(holds(sign, claims), "the signature is wrong");
    }
    boolean seen = options.replay() != null && !options.replay().isNew(sign, stamp + options.windowMillis(), now);
    require(!seen, "the signature has been seen before");
    return identity;
  }

  private static void require(boolean holds, String otherwise) throws Refused {
    if (!holds) {
      throw new Refused(otherwise);
    }
  }

  /** The headers of the signature, each exactly once. */
  private Map<String, String> fields(Function<String, List<String>> headers) throws Refused {
    boolean message = options.scheme().equals("rfc9421");
    Map<String, String> wanted = new LinkedHashMap<>();
    wanted.put("sign", prefix + "sign");
    NAMES.forEach(name -> wanted.put(name, prefix + name));
    List<String> optional = new ArrayList<>(List.of("host"));
    if (message) {
      optional.add("sign");
      wanted.putAll(Map.of("input", "signature-input", "signature", "signature", "host", "host"));
    }
    Map<String, String> fields = new HashMap<>();
    for (Map.Entry<String, String> one : wanted.entrySet()) {
      List<String> values = headers.apply(one.getValue());
      require(values == null || values.size() < 2, one.getValue() + " comes twice");
      if (values != null && !values.isEmpty()) {
        fields.put(one.getKey(), utf8(trimmed(values.get(0))));
      } else {
        boolean demo = options.demo() && "demo".equals(fields.get("sign")) && message && !NAMES.contains(one.getKey());
        require(demo || optional.contains(one.getKey()), "there is no " + one.getValue());
      }
    }
    return fields;
  }

  /** Every token is tried, whatever the first one says. */
  private boolean holds(String sign, Claims claims) {
    boolean found = false;
    for (String token : options.tokens()) {
      found |= MessageDigest.isEqual(bytes(signature(options.scheme(), token, claims)), bytes(sign));
    }
    return found;
  }

  private String message(Map<String, String> fields, Claims c, long now) throws Refused {
    Matcher given = input.matcher(fields.get("input"));
    Matcher sign = SIGNATURE.matcher(fields.get("signature"));
    require(given.matches() && sign.matches(), "signature-input is not the signer's");
    boolean current = Long.parseLong(given.group(2)) == Long.parseLong(c.stamp()) / 1000
        && now <= Long.parseLong(given.group(3)) + options.windowMillis() / 1000;
    require(current, "created and stamp differ, or the signature has expired");
    boolean known = false;
    for (String token : options.tokens()) {
      known |= MessageDigest.isEqual(bytes(keyId(token)), bytes(given.group(4)));
    }
    require(known, "the key is not known");
    Claims all = new Claims(c.user(), c.username(), c.project(), c.appId(), c.stamp(), c.method(), c.authority(), c.path(),
        c.query(), c.prefix(), given.group(1));
    require(holds(sign.group(1), all), "the signature is wrong");
    return sign.group(1);
  }

  /** Without blanks around it. No pattern: one would look at many blanks in the middle again and again. */
  private static String trimmed(String text) {
    int from = 0;
    int to = text.length();
    while (from < to && " \t".indexOf(text.charAt(from)) >= 0) {
      from++;
    }
    while (to > from && " \t".indexOf(text.charAt(to - 1)) >= 0) {
      to--;
    }
    return text.substring(from, to);
  }

  /** Servlet containers give a header's bytes as Latin-1; a name that travels raw is UTF-8. */
  private static String utf8(String text) {
    boolean isPlain = text.chars().allMatch(c -> c < 0x80);
    if (isPlain || text.chars().anyMatch(c -> c > 0xff)) {
      return text;
    }
    try {
      java.nio.ByteBuffer bytes = java.nio.ByteBuffer.wrap(text.getBytes(StandardCharsets.ISO_8859_1));
      return StandardCharsets.UTF_8.newDecoder().decode(bytes).toString();
    } catch (java.nio.charset.CharacterCodingException notUtf8) {
      return text;
    }
  }

  private static String unquote(String text) {
    try {
      return URLDecoder.decode(text.replace("+", "%2B"), StandardCharsets.UTF_8);
    } catch (IllegalArgumentException malformed) {
      return text;
    }
  }

  private static byte[] bytes(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }

  private static String digest(String text) {
    try {
      return hex(MessageDigest.getInstance("SHA-256").digest(bytes(text)));
    } catch (GeneralSecurityException impossible) {
      throw new IllegalStateException(impossible);
    }
  }

  private static byte[] mac(String token, String text) {
    try {
      Mac mac = Mac.getInstance("HmacSHA256");
      mac.init(new SecretKeySpec(bytes(token), "HmacSHA256"));
      return mac.doFinal(bytes(text));
    } catch (GeneralSecurityException impossible) {
      throw new IllegalStateException(impossible);
    }
  }

  private static String hex(byte[] bytes) {
    StringBuilder text = new StringBuilder();
    for (byte one : bytes) {
      text.append(Character.forDigit(one >> 4 & 0xf, 16)).append(Character.forDigit(one & 0xf, 16));
    }
    return text.toString();
  }
}
