import org.apache.beam.model.pipeline.v1.RunnerApi;
import org.apache.beam.sdk.util.construction.NativeTransforms;
import org.apache.beam.sdk.util.construction.PTransformTranslation;

/** Says that a Reshuffle is the runner's, as those of Flink and Spark say: else it would be taken apart. */
public final class KeepsReshuffle implements NativeTransforms.IsNativeTransform {
  @Override
  public boolean test(RunnerApi.PTransform transform) {
    return PTransformTranslation.RESHUFFLE_URN.equals(PTransformTranslation.urnForTransformOrNull(transform));
  }
}
