import java.time.Duration;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.TimeWindows;

/** The program of the test, in Java: says RUNNING each time that it runs, and closes when its input ends. */
public class Counter {
  public static void main(String[] args) throws Exception {
    String brokers = args[0], application = args[1], in = args[2], out = args[3], dir = args[4];
    StreamsBuilder b = new StreamsBuilder();
    KStream<String, String> words = b.stream(in, Consumed.with(Serdes.String(), Serdes.String()));
    words.groupByKey().count(Materialized.as("by-key")).toStream().mapValues((k, n) -> "key " + n).to(out, Produced.with(Serdes.String(), Serdes.String()));
    words.groupBy((k, v) -> v, Grouped.<String, String>as("by-value").withKeySerde(Serdes.String()).withValueSerde(Serdes.String())).count(Materialized.as("by-value-count"))
        .toStream().mapValues((k, n) -> "value " + n).to(out, Produced.with(Serdes.String(), Serdes.String()));
    words.groupByKey().windowedBy(TimeWindows.ofSizeWithNoGrace(Duration.ofDays(1000))).count(Materialized.as("by-window"))
        .toStream((w, n) -> w.key()).mapValues((k, n) -> "window " + n).to(out, Produced.with(Serdes.String(), Serdes.String()));
    Properties p = new Properties();
    p.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, brokers);
    p.put(StreamsConfig.APPLICATION_ID_CONFIG, application);
    p.put(StreamsConfig.STATE_DIR_CONFIG, dir);
    p.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.String().getClass());
    p.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.String().getClass());
    p.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
    p.put(ConsumerConfig.SESSION_TIMEOUT_MS_CONFIG, 10_000);
    p.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");
    KafkaStreams streams = new KafkaStreams(b.build(), p);
    streams.setStateListener((now, was) -> System.out.println(now));
    streams.setUncaughtExceptionHandler(e -> {
      e.printStackTrace();
      return org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
    });
    streams.start();
    while (System.in.read() >= 0) { }
    streams.close(new KafkaStreams.CloseOptions().leaveGroup(true).timeout(Duration.ofSeconds(60)));
    System.exit(0);
  }
}
