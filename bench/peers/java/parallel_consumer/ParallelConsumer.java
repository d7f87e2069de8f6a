import io.confluent.parallelconsumer.ParallelConsumerOptions;
import io.confluent.parallelconsumer.ParallelConsumerOptions.CommitMode;
import io.confluent.parallelconsumer.ParallelConsumerOptions.ProcessingOrder;
import io.confluent.parallelconsumer.ParallelStreamProcessor;
import io.confluent.parallelconsumer.PollContext;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Confluent's parallel consumer: batches, and many blocking calls at a time.
 *
 * <p>Arguments: bootstrap, input topic, output topic, group, HOST:PORT/MODEL, processing order (KEY, UNORDERED), rows of a
 * request, requests at a time.
 */
public final class ParallelConsumer {
  private ParallelConsumer() {}

  /** Runs until SIGTERM. */
  public static void main(String[] args) throws InterruptedException {
    Map<String, Object> reading = new HashMap<>();
    reading.put("bootstrap.servers", args[0]);
    reading.put("group.id", args[3]);
    reading.put("enable.auto.commit", false);
    reading.put("auto.offset.reset", "earliest");
    reading.put("max.poll.records", 2000);
    Map<String, Object> writing = new HashMap<>();
    writing.put("bootstrap.servers", args[0]);
    writing.put("linger.ms", 5);
    TensorFlowServing server = new TensorFlowServing(args[4]);
    ParallelStreamProcessor<byte[], byte[]> processor =
        ParallelStreamProcessor.createEosStreamProcessor(
            ParallelConsumerOptions.<byte[], byte[]>builder()
                .consumer(new KafkaConsumer<>(reading, new ByteArrayDeserializer(), new ByteArrayDeserializer()))
                .producer(new KafkaProducer<>(writing, new ByteArraySerializer(), new ByteArraySerializer()))
                .ordering(ProcessingOrder.valueOf(args[5]))
                .commitMode(CommitMode.PERIODIC_CONSUMER_ASYNCHRONOUS)
                .batchSize(Integer.parseInt(args[6]))
                .maxConcurrency(Integer.parseInt(args[7]))
                .build());
    CountDownLatch stopped = new CountDownLatch(1);
    Runtime.getRuntime()
        .addShutdownHook(
            new Thread(
                () -> {
                  processor.closeDrainFirst();
                  server.close();
                  stopped.countDown();
                }));
    processor.subscribe(List.of(args[1]));
    processor.pollAndProduceMany(context -> outputs(context, server, args[2]));
    stopped.await();
  }

  private static List<ProducerRecord<byte[], byte[]>> outputs(
      PollContext<byte[], byte[]> context, TensorFlowServing server, String topic) {
    List<ConsumerRecord<byte[], byte[]>> records = context.getConsumerRecordsFlattened();
    float[][] rows = new float[records.size()][];
    for (int i = 0; i < rows.length; i++) {
      rows[i] = Documents.row(records.get(i).value());
    }
    float[] values = server.predict(rows);
    List<ProducerRecord<byte[], byte[]>> outputs = new ArrayList<>(rows.length);
    for (int i = 0; i < rows.length; i++) {
      ConsumerRecord<byte[], byte[]> record = records.get(i);
      byte[] value = Documents.of(values[i]);
      outputs.add(new ProducerRecord<>(topic, null, record.timestamp(), record.key(), value, record.headers()));
    }
    return outputs;
  }
}
