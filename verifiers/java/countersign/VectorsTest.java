package countersign;

import jakarta.servlet.Filter;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.lang.reflect.Proxy;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Runs the vectors, and requests that are not what they should be: {@code java countersign.VectorsTest sign.json}. */
public final class VectorsTest {
  private static final String TOKEN = "0123456789abcdef0123456789abcde";
  private static final long NOW = 1_763_740_800_000L;
  private static final Pattern MEMBER =
      Pattern.compile("\"([a-z_]+)\": (?:\"((?:[^\"\\\\]|\\\\.)*)\"|([0-9]+)|null)");
  private static int checks;

  public static void main(String[] arguments) throws Exception {
    List<Map<String, String>> vectors = new ArrayList<>();
    for (String line : Files.readAllLines(Path.of(arguments[0]))) {
      if (line.contains("\"scheme\"")) {
        vectors.add(parse(line));
      }
    }
    check(vectors.size() >= 1000, "a thousand vectors");
    int accepted = 0;
    for (int at = 0; at < vectors.size(); at++) {
      Map<String, String> vector = vectors.get(at);
      check(signed(vector).equals(expected(vector)), vector.toString());
      if (usable(vector)) {
        accepted++;
        accept(vector);
        if (at % 25 == 0) {
          flipBits(vector);
        }
      }
    }
    check(accepted > 700, "usable vectors");
    refuseWhatIsNotExpected();
    filters();
    System.out.println(checks + " checks hold");
  }

  private static void check(boolean holds, String what) {
    checks++;
    if (!holds) {
      throw new AssertionError(what);
    }
  }

  private static Map<String, String> parse(String line) {
    Map<String, String> vector = new TreeMap<>();
    Matcher member = MEMBER.matcher(line);
    while (member.find()) {
      String value = member.group(2) != null ? unescape(member.group(2)) : member.group(3);
      vector.put(member.group(1), value == null ? "" : value);
    }
    return vector;
  }

  private static String unescape(String text) {
    StringBuilder plain = new StringBuilder();
    for (int at = 0; at < text.length(); at++) {
      char one = text.charAt(at);
      if (one != '\\') {
        plain.append(one);
        continue;
      }
      char kind = text.charAt(++at);
      switch (kind) {
        case 'u' -> {
          plain.append((char) Integer.parseInt(text.substring(at + 1, at + 5), 16));
          at += 4;
        }
        case 'n' -> plain.append('\n');
        case 'r' -> plain.append('\r');
        case 't' -> plain.append('\t');
        default -> plain.append(kind);
      }
    }
    return plain.toString();
  }

  private static String of(Map<String, String> vector, String name) {
    return vector.getOrDefault(name, "");
  }

  private static Countersign.Claims claims(Map<String, String> v) {
    String parameters = of(v, "signature_input").replaceFirst("^countersign=", "");
    return new Countersign.Claims(of(v, "user"), of(v, "username_encoded"), of(v, "project"), of(v, "app_id"),
        of(v, "stamp"), of(v, "method"), of(v, "authority"), of(v, "path"), of(v, "query"), "x-kms-", parameters);
  }

  private static String signed(Map<String, String> vector) {
    return Countersign.signature(of(vector, "scheme"), of(vector, "token"), claims(vector));
  }

  private static String expected(Map<String, String> vector) {
    String message = of(vector, "signature");
    return message.isEmpty() ? of(vector, "sign") : message.substring("countersign=:".length(), message.length() - 1);
  }

  private static boolean usable(Map<String, String> vector) {
    String token = of(vector, "token");
    return token.codePointCount(0, token.length()) >= 31 && of(vector, "stamp").length() == 13;
  }

  private static Map<String, String> headers(Map<String, String> vector) {
    Map<String, String> headers = new TreeMap<>(Map.of("x-kms-user", of(vector, "user"), "x-kms-username",
        of(vector, "username_encoded"), "x-kms-stamp", of(vector, "stamp"), "x-kms-appid", of(vector, "app_id"),
        "x-kms-project", of(vector, "project")));
    if (of(vector, "scheme").equals("rfc9421")) {
      headers.putAll(Map.of("signature-input", of(vector, "signature_input"), "signature", of(vector, "signature"),
          "host", of(vector, "authority")));
    } else {
      headers.put("x-kms-sign", of(vector, "sign"));
    }
    return headers;
  }

  private static String method(Map<String, String> vector) {
    return vector.getOrDefault("method", "GET");
  }

  private static String target(Map<String, String> vector) {
    String query = of(vector, "query");
    return vector.getOrDefault("path", "/") + (query.isEmpty() ? "" : "?" + query);
  }

  private static Countersign.Options options(Map<String, String> vector) {
    long now = Long.parseLong(of(vector, "stamp"));
    return Countersign.Options.of(of(vector, "scheme"), of(vector, "token")).clock(() -> now);
  }

  private static boolean refused(Countersign.Options options, String method, String target, Map<String, String> headers) {
    return refusedAll(options, method, target, name -> headers.containsKey(name) ? List.of(headers.get(name)) : List.of());
  }

  private static boolean refusedAll(Countersign.Options options, String method, String target,
      java.util.function.Function<String, List<String>> headers) {
    try {
      new Countersign(options).verify(method, target, headers);
      return false;
    } catch (Countersign.Refused refused) {
      return true;
    }
  }

  private static void accept(Map<String, String> vector) throws Exception {
    Map<String, String> headers = headers(vector);
    Countersign verifier =
        new Countersign(options(vector).project(of(vector, "project")).appId(of(vector, "app_id")));
    Countersign.Identity who = verifier.verify(method(vector), target(vector),
        name -> headers.containsKey(name) ? List.of(headers.get(name)) : null);
    check(who.user().equals(of(vector, "user")) && who.name().equals(of(vector, "username")), vector.toString());
  }

  private static void flipBits(Map<String, String> vector) {
    String scheme = of(vector, "scheme");
    Set<String> unsigned = switch (scheme) {
      case "user-stamp" -> Set.of("x-kms-username", "x-kms-appid", "x-kms-project");
      case "user-project-stamp" -> Set.of("x-kms-username", "x-kms-appid");
      case "user-project-appid-stamp" -> Set.of("x-kms-username");
      default -> Set.of();
    };
    Map<String, String> headers = headers(vector);
    for (String name : List.copyOf(headers.keySet())) {
      String value = headers.get(name);
      for (int bit = 0; bit < value.length() * 7 && !unsigned.contains(name); bit++) {
        StringBuilder changed = new StringBuilder(value);
        changed.setCharAt(bit / 7, (char) (value.charAt(bit / 7) ^ 1 << bit % 7));
        if (!name.equals("host") || !changed.toString().equalsIgnoreCase(value)) {
          headers.put(name, changed.toString());
          check(refused(options(vector), method(vector), target(vector), headers), name + ": " + changed);
        }
      }
      headers.put(name, value);
    }
    if (vector.containsKey("method")) {
      check(refused(options(vector), "TRACE", target(vector), headers), "another method");
      check(refused(options(vector), method(vector), target(vector) + "x", headers), "another target");
    }
  }

  private static Map<String, String> plain() {
    Map<String, String> vector = new TreeMap<>(Map.of("scheme", "user-project-stamp", "user", "dev@example.com", "project",
        "demo", "app_id", "1001", "stamp", Long.toString(NOW), "token", TOKEN, "username_encoded", "Dev"));
    vector.put("sign", signed(vector));
    return vector;
  }

  private static void refuseWhatIsNotExpected() {
    Map<String, String> good = headers(plain());
    Countersign.Options options = options(plain());
    for (long off : new long[] {-300_000, 0, 300_000}) {
      check(!refused(options.clock(() -> NOW + off), "GET", "/", good), off + " ms");
    }
    for (long off : new long[] {-300_001, 300_001, -NOW}) {
      check(refused(options.clock(() -> NOW + off), "GET", "/", good), off + " ms");
    }
    check(refused(options.project("other"), "GET", "/", good) && refused(options.appId("1002"), "GET", "/", good), "others");
    String[][] wrong = {{"x-kms-sign", "demo"}, {"x-kms-sign", ""}, {"x-kms-sign", good.get("x-kms-sign").toUpperCase()},
        {"x-kms-stamp", ""}, {"x-kms-stamp", "0"}, {"x-kms-stamp", "176374080000"}, {"x-kms-stamp", "01763740800000"},
        {"x-kms-stamp", "\u0661763740800000"}, {"x-kms-user", "Dev@example.com"}, {"x-kms-user", "d\u00e9v@example.com"}};
    for (String[] pair : wrong) {
      Map<String, String> headers = new TreeMap<>(good);
      headers.put(pair[0], pair[1]);
      check(refused(options, "GET", "/", headers), pair[0] + ": " + pair[1]);
    }
    for (String name : good.keySet()) {
      Map<String, String> missing = new TreeMap<>(good);
      missing.remove(name);
      check(refused(options, "GET", "/", missing), "without " + name);
      check(refusedAll(options, "GET", "/", one -> Collections.nCopies(one.equals(name) ? 2 : 1, good.get(one))), name);
    }
    String other = "another-token-0123456789abcdef0123";
    check(refused(Countersign.Options.of("user-project-stamp", other).clock(() -> NOW), "GET", "/", good), "another token");
    check(!refused(Countersign.Options.of("user-project-stamp", other, TOKEN).clock(() -> NOW), "GET", "/", good), "two");
    for (String[] tokens : new String[][] {{}, {"short"}}) {
      try {
        new Countersign(Countersign.Options.of("user-stamp", tokens));
        check(false, "no token worth the name");
      } catch (IllegalArgumentException expected) {
        checks++;
      }
    }
    Countersign.ReplayMemory memory = new Countersign.ReplayMemory(2);
    check(!refused(options.replay(memory), "GET", "/", good) && refused(options.replay(memory), "GET", "/", good), "replay");
    check(memory.isNew("b", NOW, NOW) && !memory.isNew("c", NOW, NOW) && memory.isNew("c", NOW, NOW + 400_000), "full");
    Map<String, String> demo = new TreeMap<>(good);
    demo.putAll(Map.of("x-kms-sign", "demo", "x-kms-stamp", "0"));
    check(!refused(options.demo(true), "GET", "/", demo), "the demonstration signature, switched on");
  }

  private static void filters() throws Exception {
    Map<String, String> good = headers(plain());
    Filter verifying = new CountersignFilter(new Countersign(options(plain())));
    check(through(verifying, "GET", good, new TreeMap<>()), "a signed request passes");
    Map<String, String> seen = new TreeMap<>();
    check(!through(verifying, "GET", Map.of(), seen) && seen.get("status").equals("401"), "others do not");
    Map<String, String> ask = Map.of("origin", "https://demo.example.com", "access-control-request-method", "GET");
    Set<String> origins = Set.of("https://demo.example.com");
    check(through(new CountersignFilter.LocalCors(origins, false), "OPTIONS", ask, new TreeMap<>()), "CORS is off");
    check(through(new CountersignFilter.LocalCors(Set.of(), true), "OPTIONS", ask, new TreeMap<>()), "not for everybody");
    check(!through(new CountersignFilter.LocalCors(origins, true), "OPTIONS", ask, seen), "a preflight is answered");
    check(seen.get("status").equals("204") && seen.containsKey("access-control-allow-headers"), seen.toString());
  }

  /** Whether a filter lets a request through; what it answers is put into {@code seen}. */
  private static boolean through(Filter filter, String method, Map<String, String> headers, Map<String, String> seen)
      throws Exception {
    boolean[] passed = {false};
    ClassLoader loader = VectorsTest.class.getClassLoader();
    var request = (HttpServletRequest) Proxy.newProxyInstance(loader, new Class<?>[] {HttpServletRequest.class},
        (proxy, called, arguments) -> switch (called.getName()) {
          case "getMethod" -> method;
          case "getRequestURI" -> "/";
          case "getHeader" -> headers.get((String) arguments[0]);
          case "getHeaders" -> Collections.enumeration(
              headers.containsKey((String) arguments[0]) ? List.of(headers.get((String) arguments[0])) : List.of());
          default -> null;
        });
    var response = (HttpServletResponse) Proxy.newProxyInstance(loader, new Class<?>[] {HttpServletResponse.class},
        (proxy, called, arguments) -> {
          switch (called.getName()) {
            case "sendError", "setStatus" -> seen.put("status", arguments[0].toString());
            case "setHeader", "addHeader" -> seen.put((String) arguments[0], (String) arguments[1]);
            default -> { }
          }
          return null;
        });
    filter.doFilter(request, response, (one, other) -> passed[0] = true);
    return passed[0];
  }
}
