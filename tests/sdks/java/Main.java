// What an application does with Dapr's Java SDK: one line per step. See ../README.md.
//
// The SDK's server part is for Spring Boot alone; events come over its streaming subscription, and nobody calls this one.

import io.dapr.client.DaprClient;
import io.dapr.client.DaprClientBuilder;
import io.dapr.client.DaprPreviewClient;
import io.dapr.client.domain.HttpExtension;
import io.dapr.client.domain.State;
import io.dapr.client.domain.StateOptions;
import io.dapr.client.domain.TransactionalStateOperation;
import io.dapr.client.domain.TransactionalStateOperation.OperationType;
import io.dapr.exceptions.DaprException;
import io.dapr.utils.TypeRef;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.Callable;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import reactor.core.Disposable;

public final class Main {
  private static final Duration PATIENCE = Duration.ofSeconds(30);
  private static final String STORE = System.getenv("STORE");
  private static final String BUS = System.getenv("BUS");
  private static final TypeRef<Map<String, Object>> MAP = new TypeRef<>() {};

  public static void main(String[] arguments) throws Exception {
    DaprClientBuilder builder = new DaprClientBuilder();
    try (DaprClient client = builder.build(); DaprPreviewClient preview = builder.buildPreviewClient()) {
      client.waitForSidecar((int) PATIENCE.toMillis()).block();
      say("healthy");
      String id = client.getMetadata().block(PATIENCE).getId();
      check(id.equals(System.getenv("DAPR_APP_ID")), "metadata of " + id);
      say("metadata");
      state(client);
      String secrets = System.getenv("SECRETS");
      if (secrets != null) {
        Map<String, String> found = client.getSecret(secrets, "SDKS_SECRET").block(PATIENCE);
        check("kept".equals(found.get("SDKS_SECRET")), found);
        say("secret");
      }
      invoke(client);
      stream(client, preview);
      say("done");
      System.in.readAllBytes();
    }
    // The SDK's own threads would keep the process.
    System.exit(0);
  }

  private static void state(DaprClient client) {
    StateOptions firstWrite =
        new StateOptions(StateOptions.Consistency.STRONG, StateOptions.Concurrency.FIRST_WRITE);
    client.saveState(STORE, "java-a", Map.of("step", 1)).block(PATIENCE);
    State<Map<String, Object>> found = client.getState(STORE, "java-a", MAP).block(PATIENCE);
    check(found.getValue().get("step").equals(1) && found.getEtag() != null, found);
    say("state");
    client.saveState(STORE, "java-a", found.getEtag(), Map.of("step", 2), firstWrite).block(PATIENCE);
    try {
      client.saveState(STORE, "java-a", found.getEtag(), Map.of("step", 3), firstWrite).block(PATIENCE);
      throw new IllegalStateException("no conflict");
    } catch (DaprException error) {
      check(error.getErrorCode().equals("ABORTED"), error);
    }
    say("conflict");
    client.executeStateTransaction(STORE, List.of(
        new TransactionalStateOperation<>(OperationType.UPSERT, new State<>("java-b", "transacted", (String) null)),
        new TransactionalStateOperation<>(OperationType.DELETE, new State<>("java-a")))).block(PATIENCE);
    check("transacted".equals(client.getState(STORE, "java-b", String.class).block(PATIENCE).getValue()), "java-b");
    check(client.getState(STORE, "java-a", MAP).block(PATIENCE).getValue() == null, "java-a");
    say("transaction");
    client.deleteState(STORE, "java-b").block(PATIENCE);
    check(client.getState(STORE, "java-b", String.class).block(PATIENCE).getValue() == null, "still there");
    say("delete");
  }

  private static void invoke(DaprClient client) throws Exception {
    for (String peer : System.getenv("PEERS").split(",")) {
      Map<String, Object> said = until(() ->
          client.invokeMethod(peer, "hello", Map.of("from", "java"), HttpExtension.POST, MAP).block(PATIENCE));
      check(Map.of("from", "java").equals(said.get("heard")), said);
      say("invoke " + said.get("by"));
    }
  }

  private static void stream(DaprClient client, DaprPreviewClient preview) throws Exception {
    BlockingQueue<Map<String, Object>> events = new LinkedBlockingQueue<>();
    Disposable subscription = preview.subscribeToEvents(BUS, "java-streamed", MAP).subscribe(events::add);
    Map<String, Object> got = until(() -> {
      client.publishEvent(BUS, "java-streamed", Map.of("by", "java")).block(PATIENCE);
      Map<String, Object> event = events.poll(1, TimeUnit.SECONDS);
      check(event != null, "no event yet");
      return event;
    });
    check(Map.of("by", "java").equals(got), got);
    say("event streamed");
    subscription.dispose();
  }

  private static <T> T until(Callable<T> ask) throws Exception {
    long end = System.nanoTime() + PATIENCE.toNanos();
    while (true) {
      try {
        return ask.call();
      } catch (Exception error) {
        if (System.nanoTime() > end) {
          throw error;
        }
        Thread.sleep(100);
      }
    }
  }

  private static void check(boolean holds, Object what) {
    if (!holds) {
      throw new IllegalStateException(String.valueOf(what));
    }
  }

  private static void say(String line) {
    System.out.println(line);
  }
}
