import java.net.URI;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.time.Instant;
import java.time.format.DateTimeFormatter;
import java.time.ZoneOffset;
import java.util.Base64;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Collectors;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;
import javax.security.auth.callback.Callback;
import javax.security.auth.callback.UnsupportedCallbackException;
import javax.security.auth.login.AppConfigurationEntry;
import org.apache.kafka.common.security.auth.AuthenticateCallbackHandler;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerExtensionsValidatorCallback;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerToken;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallback;

/**
 * Stands for Amazon MSK: lets in whoever has a token that is signed by one known key, and for this service, region and action.
 *
 * <p>The signature is computed here, from AWS's description of Signature Version 4 and with nothing of AWS's, as what it
 * checks was made by AWS's library. Options of the listener's JAAS entry: user, region, key, secret, session_s (how long a
 * connection may go on with one token: soon over, so that clients must log in again).
 */
public class MskIamTokens implements AuthenticateCallbackHandler {
    private Map<String, ?> options = Map.of();

    @Override
    public void configure(Map<String, ?> configs, String mechanism, List<AppConfigurationEntry> entries) {
        options = entries.get(0).getOptions();
    }

    @Override
    public void handle(Callback[] callbacks) throws UnsupportedCallbackException {
        for (Callback callback : callbacks) {
            if (callback instanceof OAuthBearerValidatorCallback asked) {
                String problem = problem(asked.tokenValue());
                if (problem != null) {
                    System.err.println("token refused: " + problem);
                    asked.error("invalid_token", null, null);
                } else {
                    System.err.println("token accepted");
                    asked.token(new Accepted(asked.tokenValue(), option("user"), Long.parseLong(option("session_s"))));
                }
            } else if (!(callback instanceof OAuthBearerExtensionsValidatorCallback)) {
                throw new UnsupportedCallbackException(callback);
            }
        }
    }

    @Override
    public void close() {}

    private String option(String name) {
        return String.valueOf(options.get(name));
    }

    private String problem(String token) {
        try {
            return problem(URI.create(new String(Base64.getUrlDecoder().decode(token), StandardCharsets.UTF_8)));
        } catch (Exception error) {
            return "it can't be read: " + error;
        }
    }

    private String problem(URI url) throws Exception {
        String host = "kafka." + option("region") + ".amazonaws.com";
        if (!"https".equals(url.getScheme()) || !host.equals(url.getHost()) || !"/".equals(url.getPath())) {
            return "it is for another place: " + url.getHost();
        }
        TreeMap<String, String> query = new TreeMap<>();  // as it stands in the URL: encoded
        for (String part : url.getRawQuery().split("&")) {
            query.put(part.substring(0, part.indexOf('=')), part.substring(part.indexOf('=') + 1));
        }
        if (!Set.of("Action", "User-Agent", "X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires",
                "X-Amz-SignedHeaders", "X-Amz-Signature").equals(query.keySet())) {
            return "it has other parts: " + query.keySet();
        }
        String given = query.remove("X-Amz-Signature");
        query.remove("User-Agent");  // is added after the signature
        String time = query.get("X-Amz-Date");
        String scope = String.join("/", time.substring(0, 8), option("region"), "kafka-cluster", "aws4_request");
        if (!"kafka-cluster:Connect".equals(decoded(query.get("Action")))) {
            return "it is for another action";
        }
        if (!(option("key") + "/" + scope).equals(decoded(query.get("X-Amz-Credential")))) {
            return "it is by another key, or for another region or service";
        }
        Instant signed = DateTimeFormatter.ofPattern("yyyyMMdd'T'HHmmss'Z'").withZone(ZoneOffset.UTC).parse(time, Instant::from);
        long seconds = Long.parseLong(query.get("X-Amz-Expires"));
        if (seconds > 900 || Instant.now().isAfter(signed.plusSeconds(seconds)) || signed.isAfter(Instant.now().plusSeconds(60))) {
            return "it is not of this time";
        }
        String canonicalQuery =
            query.entrySet().stream().map(part -> part.getKey() + "=" + part.getValue()).collect(Collectors.joining("&"));
        String canonical = String.join("\n", "GET", "/", canonicalQuery, "host:" + host, "", "host", hex(sha256("")));
        String toSign = String.join("\n", "AWS4-HMAC-SHA256", time, scope, hex(sha256(canonical)));
        byte[] key = ("AWS4" + option("secret")).getBytes(StandardCharsets.UTF_8);
        for (String part : scope.split("/")) {
            key = hmac(key, part);
        }
        return hex(hmac(key, toSign)).equals(given) ? null : "its signature is another";
    }

    private static String decoded(String text) {
        return URLDecoder.decode(text, StandardCharsets.UTF_8);
    }

    private static byte[] sha256(String text) throws Exception {
        return MessageDigest.getInstance("SHA-256").digest(text.getBytes(StandardCharsets.UTF_8));
    }

    private static byte[] hmac(byte[] key, String text) throws Exception {
        Mac mac = Mac.getInstance("HmacSHA256");
        mac.init(new SecretKeySpec(key, "HmacSHA256"));
        return mac.doFinal(text.getBytes(StandardCharsets.UTF_8));
    }

    private static String hex(byte[] bytes) {
        return HexFormat.of().formatHex(bytes);
    }

    private record Accepted(String value, String principalName, long sessionS) implements OAuthBearerToken {
        @Override
        public Set<String> scope() {
            return Set.of();
        }

        @Override
        public long lifetimeMs() {
            return System.currentTimeMillis() + sessionS * 1000;
        }

        @Override
        public Long startTimeMs() {
            return null;
        }
    }
}
