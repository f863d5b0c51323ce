import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import countersign.Countersign;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.Executors;

/**
 * An upstream that verifies with verifiers/java: {@code java Server TOKEN…}. The first segment of the path says the scheme.
 * Says "listening PORT", then answers 200 with who calls as JSON, or 401.
 */
public final class Server {
  public static void main(String[] tokens) throws IOException {
    HttpServer server = HttpServer.create(new InetSocketAddress("127.0.0.1", 0), 64);
    server.setExecutor(Executors.newFixedThreadPool(4));
    for (String scheme : Countersign.SCHEMES) {
      var verifier = new Countersign(Countersign.Options.of(scheme, tokens).project("demo").appId("1001"));
      server.createContext("/" + scheme + "/", exchange -> answer(verifier, exchange));
    }
    server.start();
    System.out.println("listening " + server.getAddress().getPort());
  }

  private static void answer(Countersign verifier, HttpExchange exchange) throws IOException {
    exchange.getRequestBody().readAllBytes();
    try {
      var who = verifier.verify(exchange.getRequestMethod(), exchange.getRequestURI().toString(),
          name -> exchange.getRequestHeaders().get(name));
      byte[] body = ("{\"user\": \"" + who.user() + "\", \"name\": \"" + who.name() + "\"}").getBytes(StandardCharsets.UTF_8);
      exchange.sendResponseHeaders(200, body.length);
      exchange.getResponseBody().write(body);
    } catch (Countersign.Refused refused) {
      exchange.sendResponseHeaders(401, -1);
    }
    exchange.close();
  }
}
