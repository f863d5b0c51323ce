package countersign;

import jakarta.servlet.Filter;
import jakarta.servlet.FilterChain;
import jakarta.servlet.ServletException;
import jakarta.servlet.ServletRequest;
import jakarta.servlet.ServletResponse;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import java.util.Collections;
import java.util.Set;

/**
 * A servlet filter: 401 for what {@link Countersign} refuses; the request attribute {@link #IDENTITY} for what it does not.
 * (For containers before Jakarta EE 9, write {@code javax.servlet} in the imports.)
 */
public final class CountersignFilter implements Filter {
  /** Of the attribute that holds the {@link Countersign.Identity}. */
  public static final String IDENTITY = "countersign";

  private final Countersign verifier;

  public CountersignFilter(Countersign verifier) {
    this.verifier = verifier;
  }

  @Override
  public void doFilter(ServletRequest request, ServletResponse response, FilterChain chain)
      throws IOException, ServletException {
    HttpServletRequest http = (HttpServletRequest) request;
    String query = http.getQueryString();
    // As it was received: neither decoded nor without path parameters.
    String target = http.getRequestURI() + (query == null ? "" : "?" + query);
    try {
      request.setAttribute(
          IDENTITY, verifier.verify(http.getMethod(), target, name -> Collections.list(http.getHeaders(name))));
    } catch (Countersign.Refused refused) {
      ((HttpServletResponse) response).sendError(401, "the signature is not valid");
      return;
    }
    chain.doFilter(request, response);
  }

  /**
   * For local debugging: lets pages of some origins call this server from a browser, with the headers of the demonstration
   * signature. Does nothing unless enabled; never enable it on a server that others reach. Comes before the verifying filter.
   */
  public static final class LocalCors implements Filter {
    private final Set<String> origins;
    private final boolean enabled;

    public LocalCors(Set<String> origins, boolean enabled) {
      this.origins = Set.copyOf(origins);
      this.enabled = enabled;
    }

    @Override
    public void doFilter(ServletRequest request, ServletResponse response, FilterChain chain)
        throws IOException, ServletException {
      HttpServletRequest http = (HttpServletRequest) request;
      HttpServletResponse answer = (HttpServletResponse) response;
      String origin = http.getHeader("origin");
      if (!enabled || origin == null || !origins.contains(origin)) {
        chain.doFilter(request, response);
        return;
      }
      answer.setHeader("access-control-allow-origin", origin);
      answer.addHeader("vary", "origin");
      if (!http.getMethod().equals("OPTIONS") || http.getHeader("access-control-request-method") == null) {
        chain.doFilter(request, response);
        return;
      }
      answer.setHeader("access-control-allow-methods", "GET, HEAD, POST, PUT, PATCH, DELETE");
      answer.setHeader("access-control-allow-headers",
          "content-type, x-kms-user, x-kms-username, x-kms-stamp, x-kms-appid, x-kms-project, x-kms-sign");
      answer.setHeader("access-control-max-age", "600");
      answer.setHeader("access-control-allow-private-network", "true");
      answer.setStatus(204);
    }
  }
}
