package scoring;

import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Base64;
import java.util.HashMap;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.kafka.common.config.ConfigData;
import org.apache.kafka.common.config.ConfigException;
import org.apache.kafka.common.config.provider.ConfigProvider;

/**
 * Reads {@code ${secret:projects/P/secrets/S/versions/V}} in a Kafka client's properties from Google Secret Manager.
 *
 * <p>Kafka's clients call it where they are made (KIP-421), on the worker, so that a job's graph holds the reference only:
 * {@code config.providers=secret}, {@code config.providers.secret.class=scoring.SecretManagerConfigProvider}. It asks by the
 * worker's own service account, whose token the metadata server of its machine gives out. The Python side of the same is
 * {@code transforms/secret_manager.py}. No dependencies besides the JDK (11) and kafka-clients.
 *
 * <p>Environment: {@code SECRET_MANAGER_ENDPOINT} (another address of the API; a plain {@code http://} one on this machine is
 * for tests and is sent no token) and {@code GCE_METADATA_HOST}, as in Google's own libraries.
 */
public final class SecretManagerConfigProvider implements ConfigProvider {
  private static final Pattern NAME =
      Pattern.compile("projects/[^/\\s]+/(?:locations/([a-z0-9-]+)/)?secrets/[\\w-]{1,255}/versions/[\\w-]+");
  private static final Pattern DATA = Pattern.compile("\"data\"\\s*:\\s*\"([A-Za-z0-9+/=]*)\"");
  private static final Pattern TOKEN = Pattern.compile("\"access_token\"\\s*:\\s*\"([^\"]+)\"");
  private static final Pattern LOCAL = Pattern.compile("http://(127\\.0\\.0\\.1|localhost|\\[::1\\])(:\\d+)?");
  private static final Duration TIMEOUT = Duration.ofSeconds(10);
  private static final String JAAS = "jaas"; // ${secret:jaas:NAME}: the value goes into a quoted string of a JAAS configuration
  private static final int[] WAITS_MS = {1000, 2000, 4000};

  // One process makes many clients, and each asks for its properties: a value is asked for once.
  private static final Map<String, String> VALUES = new ConcurrentHashMap<>();

  private HttpClient http;

  @Override
  public void configure(Map<String, ?> configs) {
    http = HttpClient.newBuilder().connectTimeout(TIMEOUT).build();
  }

  @Override
  public ConfigData get(String path) {
    return new ConfigData(new HashMap<>());
  }

  @Override
  public ConfigData get(String path, Set<String> keys) {
    Map<String, String> found = new HashMap<>();
    for (String name : keys) {
      String value = VALUES.get(name);
      if (value == null) {
        value = read(name);
        VALUES.put(name, value);
      }
      found.put(name, JAAS.equals(path) ? value.replace("\\", "\\\\").replace("\"", "\\\"") : value);
    }
    return new ConfigData(found);
  }

  @Override
  public void close() {}

  private String read(String name) {
    Matcher match = NAME.matcher(name);
    if (!match.matches()) {
      throw new ConfigException(
          "the secret is not named in full; write ${secret:projects/PROJECT/secrets/NAME/versions/VERSION}");
    }
    String base = endpoint(match.group(1));
    HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(base + "/v1/" + name + ":access")).timeout(TIMEOUT);
    if (base.startsWith("https://")) {
      request.header("Authorization", "Bearer " + token());
    } else if (!LOCAL.matcher(base).matches()) {
      throw new ConfigException("SECRET_MANAGER_ENDPOINT: use https; a secret does not travel in the clear");
    }
    HttpResponse<String> answer = send(request.build(), "secret " + name);
    int status = answer.statusCode();
    if (status == 401 || status == 403) {
      throw new ConfigException(
          "secret " + name + ": we may not read it; grant the worker's service account roles/secretmanager.secretAccessor");
    }
    if (status == 404) {
      throw new ConfigException("secret " + name + ": there is no such secret, or not that version of it");
    }
    Matcher data = DATA.matcher(answer.body());
    if (status != 200 || !data.find()) {
      throw new ConfigException("secret " + name + ": Secret Manager answered HTTP " + status);
    }
    return new String(Base64.getDecoder().decode(data.group(1)), StandardCharsets.UTF_8);
  }

  private static String endpoint(String location) {
    String given = System.getenv("SECRET_MANAGER_ENDPOINT");
    if (given != null && !given.isEmpty()) {
      return given.endsWith("/") ? given.substring(0, given.length() - 1) : given;
    }
    return location == null
        ? "https://secretmanager.googleapis.com"
        : "https://secretmanager." + location + ".rep.googleapis.com";
  }

  private String token() {
    String host = System.getenv().getOrDefault("GCE_METADATA_HOST", "metadata.google.internal");
    URI uri = URI.create("http://" + host + "/computeMetadata/v1/instance/service-accounts/default/token");
    HttpRequest request = HttpRequest.newBuilder(uri).timeout(TIMEOUT).header("Metadata-Flavor", "Google").build();
    HttpResponse<String> answer = send(request, "the metadata server at " + host);
    Matcher token = TOKEN.matcher(answer.body());
    if (answer.statusCode() != 200 || !token.find()) {
      throw new ConfigException("the metadata server at " + host + " answered HTTP " + answer.statusCode());
    }
    return token.group(1);
  }

  private HttpResponse<String> send(HttpRequest request, String what) {
    for (int attempt = 0; ; attempt++) {
      String problem;
      try {
        HttpResponse<String> answer = http.send(request, HttpResponse.BodyHandlers.ofString());
        int status = answer.statusCode();
        if (status != 429 && status < 500 || attempt == WAITS_MS.length) {
          return answer;
        }
        problem = "HTTP " + status;
      } catch (IOException error) {
        problem = error.getClass().getSimpleName();
      } catch (InterruptedException error) {
        Thread.currentThread().interrupt();
        throw new ConfigException(what + ": interrupted");
      }
      if (attempt == WAITS_MS.length) {
        throw new ConfigException(what + " does not answer: " + problem);
      }
      try {
        Thread.sleep(WAITS_MS[attempt]);
      } catch (InterruptedException error) {
        Thread.currentThread().interrupt();
        throw new ConfigException(what + ": interrupted");
      }
    }
  }
}
