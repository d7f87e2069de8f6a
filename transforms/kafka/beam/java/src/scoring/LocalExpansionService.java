package scoring;

import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.UnknownHostException;
import org.apache.beam.sdk.expansion.service.ExpansionService;
import org.apache.beam.vendor.grpc.v1p69p0.io.grpc.ServerBuilder;
import org.apache.beam.vendor.grpc.v1p69p0.io.grpc.ServerProvider;
import org.apache.beam.vendor.grpc.v1p69p0.io.grpc.ServerRegistry;
import org.apache.beam.vendor.grpc.v1p69p0.io.grpc.netty.NettyServerBuilder;

/**
 * Beam's expansion service, on 127.0.0.1.
 *
 * <p>Beam's own main method listens on all addresses, takes work from anybody, and has no option for either. It asks gRPC's
 * registry for a server by a port; the provider that is registered here comes before gRPC's own, and adds the address.
 */
public final class LocalExpansionService {
  private LocalExpansionService() {}

  /** Takes the arguments of Beam's main method. */
  public static void main(String[] arguments) throws Exception {
    ServerRegistry.getDefaultRegistry().register(new LocalServers());
    ExpansionService.main(arguments);
  }

  private static final class LocalServers extends ServerProvider {
    @Override
    protected boolean isAvailable() {
      return true;
    }

    @Override
    protected int priority() {
      return 10; // the highest there is; gRPC's own have 5 and less
    }

    @Override
    protected ServerBuilder<?> builderForPort(int port) {
      try {
        InetAddress local = InetAddress.getByAddress("localhost", new byte[] {127, 0, 0, 1});
        return NettyServerBuilder.forAddress(new InetSocketAddress(local, port));
      } catch (UnknownHostException impossible) { // four bytes are an address
        throw new IllegalStateException(impossible);
      }
    }
  }
}
