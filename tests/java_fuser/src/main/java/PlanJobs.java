import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Set;
import org.apache.beam.model.pipeline.v1.RunnerApi;
import org.apache.beam.sdk.util.construction.PTransformTranslation;
import org.apache.beam.sdk.util.construction.graph.ExecutableStage;
import org.apache.beam.sdk.util.construction.graph.GreedyPipelineFuser;
import org.apache.beam.sdk.util.construction.graph.ProtoOverrides;
import org.apache.beam.sdk.util.construction.graph.SplittableParDoExpander;
import org.apache.beam.sdk.util.construction.graph.TrivialNativeTransformExpander;

/** Plans Beam jobs as the job servers of Flink and Spark do; prints a line a job: its file, a tab, and "ok" or why not. */
public final class PlanJobs {
  /** What these runners execute themselves, and not by a worker. */
  private static final Set<String> OF_THE_RUNNER =
      Set.of(
          PTransformTranslation.FLATTEN_TRANSFORM_URN,
          PTransformTranslation.GROUP_BY_KEY_TRANSFORM_URN,
          PTransformTranslation.IMPULSE_TRANSFORM_URN,
          PTransformTranslation.RESHUFFLE_URN,
          ExecutableStage.URN);

  public static void main(String[] files) throws Exception {
    for (String file : files) {
      RunnerApi.Pipeline job = RunnerApi.Pipeline.parseFrom(Files.readAllBytes(Path.of(file)));
      System.out.println(file + "\t" + planned(job));
    }
  }

  private static String planned(RunnerApi.Pipeline job) {
    try {
      RunnerApi.Pipeline sized =
          ProtoOverrides.updateTransform(
              PTransformTranslation.PAR_DO_TRANSFORM_URN, job, SplittableParDoExpander.createSizedReplacement());
      GreedyPipelineFuser.fuse(TrivialNativeTransformExpander.forKnownUrns(sized, OF_THE_RUNNER)).toPipeline();
      return "ok";
    } catch (RuntimeException refused) {
      return String.valueOf(refused.getMessage()).replaceAll("\\s+", " ");
    }
  }
}
