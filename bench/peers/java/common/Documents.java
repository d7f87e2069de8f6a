import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.UncheckedIOException;

/** The records' JSON: {@code {"x": [floats]}} in, {@code {"y": a float}} out. */
final class Documents {
  private static final ObjectMapper MAPPER = new ObjectMapper();

  /** An input record. */
  record Features(float[] x) {}

  /** An output record. */
  record Prediction(float y) {}

  private Documents() {}

  static float[] row(byte[] value) {
    try {
      return MAPPER.readValue(value, Features.class).x();
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
  }

  static byte[] of(float y) {
    try {
      return MAPPER.writeValueAsBytes(new Prediction(y));
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
  }
}
