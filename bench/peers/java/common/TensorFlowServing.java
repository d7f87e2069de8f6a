import com.google.protobuf.ByteString;
import com.google.protobuf.CodedInputStream;
import com.google.protobuf.CodedOutputStream;
import com.google.protobuf.WireFormat;
import io.grpc.CallOptions;
import io.grpc.ManagedChannel;
import io.grpc.MethodDescriptor;
import io.grpc.netty.shaded.io.grpc.netty.NettyChannelBuilder;
import io.grpc.stub.ClientCalls;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.concurrent.TimeUnit;

/**
 * TensorFlow Serving's Predict for rows of floats, blocking: input x [n, m], output y [n].
 *
 * <p>The messages are written and read field by field (predict.proto, tensor.proto), as generated code does.
 */
final class TensorFlowServing implements AutoCloseable {
  private static final int DT_FLOAT = 1;
  private static final long TIMEOUT_S = 30;

  private static final MethodDescriptor.Marshaller<byte[]> BYTES =
      new MethodDescriptor.Marshaller<>() {
        @Override
        public InputStream stream(byte[] value) {
          return new ByteArrayInputStream(value);
        }

        @Override
        public byte[] parse(InputStream stream) {
          try {
            return stream.readAllBytes();
          } catch (IOException error) {
            throw new UncheckedIOException(error);
          }
        }
      };

  private static final MethodDescriptor<byte[], byte[]> PREDICT =
      MethodDescriptor.<byte[], byte[]>newBuilder()
          .setType(MethodDescriptor.MethodType.UNARY)
          .setFullMethodName("tensorflow.serving.PredictionService/Predict")
          .setRequestMarshaller(BYTES)
          .setResponseMarshaller(BYTES)
          .build();

  private final ManagedChannel channel;
  private final String model;

  /** Takes {@code HOST:PORT/MODEL}. */
  TensorFlowServing(String address) {
    int slash = address.indexOf('/');
    channel = NettyChannelBuilder.forTarget(address.substring(0, slash)).usePlaintext().build();
    model = address.substring(slash + 1);
  }

  /** Returns a value for each row. */
  float[] predict(float[][] rows) {
    try {
      byte[] request = request(rows);
      CallOptions options = CallOptions.DEFAULT.withDeadlineAfter(TIMEOUT_S, TimeUnit.SECONDS);
      return answer(ClientCalls.blockingUnaryCall(channel, PREDICT, options, request), rows.length);
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
  }

  @Override
  public void close() {
    channel.shutdownNow();
  }

  private interface Fields {
    void write(CodedOutputStream output) throws IOException;
  }

  private static byte[] message(Fields fields) throws IOException {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream(8192);
    CodedOutputStream output = CodedOutputStream.newInstance(bytes);
    fields.write(output);
    output.flush();
    return bytes.toByteArray();
  }

  private byte[] request(float[][] rows) throws IOException {
    int width = rows[0].length;
    ByteBuffer content = ByteBuffer.allocate(4 * rows.length * width).order(ByteOrder.LITTLE_ENDIAN);
    for (float[] row : rows) {
      content.asFloatBuffer().put(row);
      content.position(content.position() + 4 * row.length);
    }
    byte[] rowsDim = message(output -> output.writeInt64(1, rows.length));
    byte[] widthDim = message(output -> output.writeInt64(1, width));
    byte[] shape =
        message(
            output -> {
              output.writeByteArray(2, rowsDim);
              output.writeByteArray(2, widthDim);
            });
    byte[] tensor =
        message(
            output -> {
              output.writeEnum(1, DT_FLOAT);
              output.writeByteArray(2, shape);
              output.writeByteArray(4, content.array());
            });
    byte[] input =
        message(
            output -> {
              output.writeString(1, "x");
              output.writeByteArray(2, tensor);
            });
    byte[] spec = message(output -> output.writeString(1, model));
    return message(
        output -> {
          output.writeByteArray(1, spec);
          output.writeByteArray(2, input);
        });
  }

  private static float[] answer(byte[] response, int rows) throws IOException {
    CodedInputStream outputs = CodedInputStream.newInstance(response);
    for (int tag; (tag = outputs.readTag()) != 0; ) {
      if (WireFormat.getTagFieldNumber(tag) == 1) {
        return tensor(entry(outputs.readBytes()), rows);
      }
      outputs.skipField(tag);
    }
    throw new IOException("an answer without outputs");
  }

  private static ByteString entry(ByteString bytes) throws IOException {
    CodedInputStream fields = bytes.newCodedInput();
    for (int tag; (tag = fields.readTag()) != 0; ) {
      if (WireFormat.getTagFieldNumber(tag) == 2) {
        return fields.readBytes();
      }
      fields.skipField(tag);
    }
    throw new IOException("an output without a tensor");
  }

  private static float[] tensor(ByteString bytes, int rows) throws IOException {
    CodedInputStream fields = bytes.newCodedInput();
    for (int tag; (tag = fields.readTag()) != 0; ) {
      int number = WireFormat.getTagFieldNumber(tag);
      if (number == 4 || number == 5) { // tensor_content, and float_val, packed: little-endian floats both
        float[] values = new float[rows];
        fields.readBytes().asReadOnlyByteBuffer().order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer().get(values);
        return values;
      }
      fields.skipField(tag);
    }
    throw new IOException("a tensor without values");
  }
}
